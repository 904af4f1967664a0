/** The gate's pure part: what is worked out again from a record, without a database or Temporal. */
export { withProblem } from "./answers/fit.ts";
export { exhaustedBy, isShadow, policyRequestOf, withBudgets } from "./decision/asked.ts";
export { withEdit } from "./approved/edit.ts";
export type { EditedStep } from "./approved/edit.ts";
export { extendFlow, startFlow } from "./flow/flow.ts";
export type { Flow } from "./flow/flow.ts";
export type { RunContext } from "./governed-call.ts";
export { emptyHead, extendHead } from "./run/head.ts";
export type { Conversation } from "./run/head.ts";
export { renderAnswer, renderCall } from "./approved/rendered.ts";
export { answerFacts, redactionOf } from "./answers/facts.ts";
export { approvedAhead } from "./approved/ahead.ts";
export { resolveModelStep, resolveToolStep } from "./step/resolve.ts";
export type { ResolvedStep } from "./step/resolve.ts";
