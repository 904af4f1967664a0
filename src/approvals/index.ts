export { decideRequest } from "./decisions.ts";
export type { DecidedRequest } from "./decisions.ts";
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
export { approvalStates, countsFor } from "./state.ts";
export type { ApprovalState } from "./state.ts";
export { keyIdOf, parseStatement, publicKeyOf, signStatement, statementText, verifyStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
export { decisionsOf, statementFacts } from "./stored-decisions.ts";
export type { StoredDecision } from "./stored-decisions.ts";
export { challengeOf } from "./webauthn.ts";
