export { decideRequest } from "./decisions.ts";
export type { DecidedRequest } from "./decisions.ts";
export { editKind } from "./edit.schema.ts";
export type { EditStatement } from "./edit.schema.ts";
export {
  editBehind,
  editOf,
  editRequest,
  editsOf,
  heldEdit,
  linkSuccessor,
  markEditTold,
  untoldEdits,
} from "./edits.ts";
export type { Edit } from "./edits.ts";
export { answerQuestion, askAbout, messagesOf } from "./messages.ts";
export type { Message } from "./messages.ts";
export { renderGrant } from "./render-grant.ts";
export { grantKind, readGrant, sumSchema, whereSchema } from "./standing-grant.schema.ts";
export type { GrantStatement } from "./standing-grant.schema.ts";
export {
  approvalsGiven,
  decideGrant,
  grantById,
  grantFacts,
  grantUsesOf,
  grantVotes,
  listGrants,
  lockGrantsFor,
  proposeGrant,
  recordGrantUse,
  revokeGrant,
} from "./standing-grants.ts";
export type { GrantRow, GrantUse, GrantVote } from "./standing-grants.ts";
export { ApprovalError } from "./errors.ts";
export { checkGrant, consumeGrant } from "./grants.ts";
export type { GrantCheck } from "./grants.ts";
export { addReviewerKey, reviewerKey, revokeReviewerKey } from "./keys.ts";
export type { ReviewerKey } from "./keys.ts";
export { renderAction, renderChange, rendererVersion } from "./render.ts";
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
export type { ApprovalRequest, NewRequest, RequestFilter, Undelivered } from "./requests.ts";
export { similarDecisions } from "./similar.ts";
export type { SimilarDecisions } from "./similar.ts";
export { approvalStates } from "./state.ts";
export type { ApprovalState } from "./state.ts";
export { keyIdOf, parseStatement, publicKeyOf, signStatement, statementText, verifyStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
export { decisionsOf, statementFacts } from "./stored-decisions.ts";
export {
  askAgain,
  askForOutcome,
  cancelOutcomesOf,
  endOutcome,
  heldResolution,
  listOutcomes,
  lockOutcome,
  markOutcomeTold,
  outcomeById,
  outcomesOf,
  outcomeStates,
  resolutionFacts,
  resolvedResult,
  resolveOutcome,
  untoldOutcomes,
} from "./unknown-outcomes.ts";
export type { UnknownOutcome } from "./unknown-outcomes.ts";
export { resolutionKind } from "./resolution.schema.ts";
export type { ResolutionStatement } from "./resolution.schema.ts";
export { readSigned, signText, textOfSigned, verifyText } from "./signed-text.ts";
export { lookalikeNote, visibleText } from "./visible.ts";
export type { SignedStatement, StoredDecision } from "./stored-decisions.ts";
