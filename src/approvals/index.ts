export { decideRequest } from "./decisions.ts";
export type { DecidedRequest } from "./decisions.ts";
export { capacitiesOf } from "./capacity.ts";
export type { Capacity, StoredCapacity } from "./capacity.ts";
export { delegate, delegationById, delegationIdPattern, listDelegations, undelegate } from "./delegations.ts";
export type { Delegation } from "./delegations.ts";
export { approvalEventsAfter, eventsOf, takeDue } from "./events.ts";
export type { ApprovalEventRow, TakenEvent } from "./events.ts";
export { whoMayDecide } from "./eligible.ts";
export type { Eligibility } from "./eligible.ts";
export { countsFor, groupsAfter, tally } from "./routing.ts";
export type { Vote } from "./routing.ts";
export { barOf, subjectNames } from "./barred.ts";
export { barredFrom } from "./separation.ts";
export { ApprovalError } from "./errors.ts";
export { checkGrant, consumeGrant } from "./grants.ts";
export type { GrantCheck } from "./grants.ts";
export { coseAlgorithms, publicKeyOfCose } from "./cose.ts";
export { countPasskeyUse, openEnrolment, takeEnrolment } from "./enrolment.ts";
export {
  addReviewerKey,
  confirmKey,
  keyStates,
  listKeys,
  lockKey,
  proposeKey,
  reviewerKey,
  revokeReviewerKey,
} from "./keys.ts";
export type { KeyState, Passkey, ReviewerKey } from "./keys.ts";
export { renderAction } from "./render.ts";
export { alwaysApproved, approvedCalls, policyLoads, reviewerLoads } from "./report.ts";
export type { CallRecord, PolicyLoad, ReportScope, ReviewerLoad } from "./report.ts";
export {
  cancelRequestsOf,
  expireDue,
  expireRequest,
  listRequests,
  markSignalled,
  openRequest,
  requestById,
  undelivered,
} from "./requests.ts";
export type { ApprovalRequest, NewRequest, RequestFilter } from "./requests.ts";
export { assertionOf, keyKinds, kindOf, signatureFault } from "./signature.ts";
export type { KeyKind, SignedStatement, SigningKey } from "./signature.ts";
export { approvalStates } from "./state.ts";
export type { ApprovalState } from "./state.ts";
export { keyIdOf, parseStatement, publicKeyOf, signStatement, statementText, verifyStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
export { decisionsOf, statementFacts } from "./stored-decisions.ts";
export type { StoredDecision } from "./stored-decisions.ts";
export { challengeOf } from "./webauthn.ts";
