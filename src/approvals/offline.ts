/** The approvals' pure part: what a signed statement says and amounts to, without a database. */
export { barOf, subjectNames } from "./barred.ts";
export { editKind } from "./edit.schema.ts";
export { renderAction, renderChange, rendererVersion } from "./render.ts";
export { resolutionKind, resolvedResult } from "./resolution.schema.ts";
export { groupsAfter, markEditor, tally } from "./routing.ts";
export type { Vote } from "./routing.ts";
export { assertionOf, kindOf, signatureFault } from "./signature.ts";
export type { SignedStatement, SigningKey } from "./signature.ts";
export { readSigned, verifyText } from "./signed-text.ts";
export { readTerms, standingKind, standingMismatch } from "./standing.schema.ts";
export {
  answers,
  isGranted,
  isInTime,
  isWithinDelegation,
  matchCall,
  standingVote,
  termsDigest,
  toolDigest,
} from "./standing-terms.ts";
export { keyIdOf, parseStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
export { visibleText } from "./visible.ts";
