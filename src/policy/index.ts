export { argumentType } from "./argument-types.ts";
export type { ArgumentType } from "./argument-types.ts";
export { parseCases } from "./case-file.ts";
export { runCases } from "./cases.ts";
export type { CaseReport, CaseResult, CaseTable, PolicyCase } from "./cases.ts";
export { checkInTurns, checkPolicySet, compileInTurns, compilePolicies } from "./compile.ts";
export type { CompiledPolicies } from "./compile.ts";
export type { ActionSlice } from "./slices.ts";
export { narrowPolicy } from "./narrow.ts";
export type { ApprovedCall, Narrowing } from "./narrow.ts";
export { obligationText } from "./obligations.ts";
export { dataClassesIn, ownDataClasses, redacted, withoutDataClasses } from "./data-classes.ts";
export { decide, explain } from "./decide.ts";
export type { Explanation } from "./decide.ts";
export { factsOf } from "./facts-seen.ts";
export type { SeenFact } from "./facts-seen.ts";
export { loadPolicyDirectory } from "./directory.ts";
export type { PolicyDirectory } from "./directory.ts";
export { formatProblem, inReadingOrder, PolicyError } from "./errors.ts";
export type { PolicyErrorCode, PolicyProblem } from "./errors.ts";
export { lintInTurns, lintPolicies } from "./lint.ts";
export { lintRules } from "./lint-subject.ts";
export type { LintRule, PolicyTeam, PolicyWarning } from "./lint-subject.ts";
export { parsePolicySet, policySetOf } from "./policy-set.ts";
export type { PolicySetDocument, PolicySources } from "./policy-set.ts";
export { reasonsOf } from "./reasons.ts";
export { actionNamed, requestJson, requestOf } from "./request.ts";
export type { Asked, CedarRequest, PolicyRequest, RedactedAnswer, RedactionOf } from "./request.ts";
export {
  actionOfTool,
  callAction,
  groupsOfTool,
  modelAction,
  responseAction,
  schemaFor,
  schemaText,
  toolAction,
} from "./schema.ts";
export type { CedarSchema, PolicyTool } from "./schema.ts";
export { causeOf, changeKinds, changeOf, consideredFor, shadowDecide, unfit, verdictOf } from "./backtest.ts";
export type { ChangeKind, ConsideredPolicy, Verdict } from "./backtest.ts";
export { diffCases, diffPolicySets } from "./diff.ts";
export type { CaseChange, PolicySetDiff } from "./diff.ts";
export {
  askRemote,
  evaluationRequest,
  narrowed,
  noAnswer,
  RemoteError,
  remoteOptionsOf,
  remotePolicy,
} from "./authzen.ts";
export type { RemoteAnswer, RemoteOptions } from "./authzen.ts";
export { detect, detectorOptionsOf, detectorPolicy, DetectorError, longestDetected } from "./presidio.ts";
export type { Detected, DetectorOptions } from "./presidio.ts";
export { findSymcc, proveChange, proveNeverErrors } from "./symcc.ts";
export type { Proof, Symcc, SymccLookup } from "./symcc.ts";
