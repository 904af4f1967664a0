export { decideRequest } from "./decisions.ts";
export type { DecidedRequest } from "./decisions.ts";
export { capacitiesOf } from "./capacity.ts";
export type { Capacity, StoredCapacity } from "./capacity.ts";
export {
  delegate,
  delegationById,
  delegationIdPattern,
  listDelegations,
  lockDelegation,
  undelegate,
} from "./delegations.ts";
export type { Delegation } from "./delegations.ts";
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
export { approvalEventsAfter, eventsOf, takeDue } from "./events.ts";
export type { ApprovalEventRow, TakenEvent } from "./events.ts";
export { whoMayDecide } from "./eligible.ts";
export type { Eligibility } from "./eligible.ts";
export { answerQuestion, askAbout, messagesOf } from "./messages.ts";
export type { Message } from "./messages.ts";
export { countsFor, groupsAfter, markEditor, tally } from "./routing.ts";
export type { Vote } from "./routing.ts";
export { barOf, subjectNames } from "./barred.ts";
export { barredFrom } from "./separation.ts";
export { ApprovalError } from "./errors.ts";
export { checkGrant, consumeGrant } from "./grants.ts";
export type { GrantCheck } from "./grants.ts";
export { coseAlgorithms, publicKeyOfCose } from "./cose.ts";
export { countPasskeyUse, openEnrolment, takeEnrolment } from "./enrolment.ts";
export { addReviewerKey, confirmKey, listKeys, lockKey, proposeKey, reviewerKey, revokeReviewerKey } from "./keys.ts";
export type { Passkey, ReviewerKey } from "./keys.ts";
export { askedContents } from "./asked-contents.ts";
export type { AskedContents } from "./asked-contents.ts";
export { renderAction, renderChange, rendererVersion, shortArguments } from "./render.ts";
export { alwaysApproved, approvedCalls, policyLoads, reviewerLoads } from "./report.ts";
export type { CallRecord, PolicyLoad, ReportScope, ReviewerLoad } from "./report.ts";
export {
  cancelRequest,
  cancelRequestsOf,
  lockWaitsOf,
  expireDue,
  expireRequest,
  listRequests,
  markSignalled,
  openRequest,
  requestById,
  undelivered,
} from "./requests.ts";
export type { ApprovalRequest, NewRequest, RequestFilter, Undelivered } from "./requests.ts";
export { assertionOf, keyKinds, kindOf, signatureFault } from "./signature.ts";
export type { KeyKind, SignedStatement, SignedWithKey, SigningKey } from "./signature.ts";
export { similarDecisions } from "./similar.ts";
export type { SimilarDecisions } from "./similar.ts";
export { readTerms, standingFacts, standingIdPattern, standingKind } from "./standing.schema.ts";
export type { StandingStatement } from "./standing.schema.ts";
export {
  approveStanding,
  listStanding,
  proposeStanding,
  revokeStanding,
  standingById,
  standingState,
  standingStates,
  standingWaitMs,
} from "./standing.ts";
export type { StandingApproved, StandingGrant } from "./standing.ts";
export { standingApprovals } from "./standing-approvals.ts";
export type { StandingApproval } from "./standing-approvals.ts";
export { argumentsOf, ordered, requirementsFault, termsDigest, termsFault, toolDigest } from "./standing-terms.ts";
export { renderTerms } from "./standing-text.ts";
export { standingMatches, standingUsesOf, takeStanding, writeStandingUse } from "./standing-use.ts";
export type { StandingClaim, StandingUse, StoredStandingUse } from "./standing-use.ts";
export { keyIdOf, parseStatement, publicKeyOf, signStatement, statementText, verifyStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
export { decisionsOf, isFallen, statementFacts } from "./stored-decisions.ts";
export type { StoredDecision } from "./stored-decisions.ts";
export { challengeOf } from "./webauthn.ts";
export {
  askAgain,
  askForOutcome,
  cancelOutcomesOf,
  endOutcome,
  markUnknownOf,
  heldResolution,
  listOutcomes,
  lockOutcome,
  markOutcomeTold,
  outcomeById,
  outcomesOf,
  outcomeStates,
  resolutionFacts,
  resolveOutcome,
  untoldOutcomes,
} from "./unknown-outcomes.ts";
export type { Resolution, UnknownOutcome } from "./unknown-outcomes.ts";
export { resolutionKind, resolvedResult } from "./resolution.schema.ts";
export type { ResolutionStatement } from "./resolution.schema.ts";
export { readSigned, signText, textOfSigned, verifyText } from "./signed-text.ts";
export { noteViewing } from "./viewings.ts";
export { lookalikeNote, visibleText } from "./visible.ts";
