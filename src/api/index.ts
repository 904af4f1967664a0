export type { EvaluationReason } from "./access.schema.ts";
export {
  agentDetail,
  agentSummary,
  channel,
  registeredAgent,
  releaseDocument,
  toolDefinition,
} from "./agents.schema.ts";
export type { AgentDetail, AgentSummary, RegisteredAgent } from "./agents.schema.ts";
export type { ApprovalContext } from "./approval-context.schema.ts";
export { approvalState } from "./approvals.schema.ts";
export type { ApprovalDetail, ApprovalSummary } from "./approvals.schema.ts";
export { createClient } from "./client.ts";
export type { ApiClient, ClientOptions } from "./client.ts";
export { maxBodyBytes, roles } from "./common.schema.ts";
export type { Role } from "./common.schema.ts";
export type { HoldView } from "./erasure.schema.ts";
export { errorCodes, isErrorCode } from "./error-codes.ts";
export type { ErrorCode } from "./error-codes.ts";
export { ApiError, bodyOf, errorBody } from "./errors.ts";
export type { ClientErrorCode, ErrorBody } from "./errors.ts";
export type { FreezeView } from "./freezes.schema.ts";
export type { KeyView } from "./keys.schema.ts";
export type { Health } from "./health.schema.ts";
export type { BacktestEvent, BacktestReportView, PolicyProposalView } from "./policies.schema.ts";
export { routes } from "./routes.ts";
export type { CallOf, RequestOf, ResponseOf, Route, RouteName } from "./routes.ts";
export type { StandingGrantView } from "./standing-grants.schema.ts";
export type { UnknownOutcomeView } from "./unknown-outcomes.schema.ts";
export type { DecisionView, RunDetail, RunView, StepView, WatchEvent } from "./runs.schema.ts";
