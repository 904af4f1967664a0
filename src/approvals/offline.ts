/** The approvals' pure part: what a signed statement says and amounts to, without a database. */
export { barOf, subjectNames } from "./barred.ts";
export { tally } from "./routing.ts";
export type { Vote } from "./routing.ts";
export { assertionOf, kindOf, signatureFault } from "./signature.ts";
export type { SignedStatement, SigningKey } from "./signature.ts";
export { parseStatement } from "./statement.ts";
export type { ApprovalStatement } from "./statement.schema.ts";
