import { z } from "zod";

import { signedWithKey } from "./approvals.schema.ts";
import { approvalId, count, digest, name, pageSize, principalId, runId, time } from "./common.schema.ts";

const outcomeState = z.enum(["open", "resolved", "reconciled", "expired", "cancelled"]);

export const unknownOutcome = z
  .object({
    id: approvalId,
    run: runId,
    team: name,
    seq: z.int(),
    name: z.string().describe("the tool that was called"),
    action: digest,
    state: outcomeState.describe("`resolved`: somebody said what happened; `reconciled`: the run has taken it over"),
    groups: z.array(z.string()).describe("whose members may say it; empty: any reviewer"),
    requestedBy: principalId,
    openedAt: time,
    expiresAt: time.describe("the run fails then"),
    resolvedBy: principalId.nullable(),
    outcome: z.enum(["happened", "did_not_happen"]).nullable(),
    reason: z.string().nullable(),
  })
  .meta({ id: "UnknownOutcome" });
export type UnknownOutcomeView = z.output<typeof unknownOutcome>;

export const outcomeParams = z.object({ run: runId, seq: count });

export const outcomeDetail = z.object({
  outcome: unknownOutcome,
  rendered: z.string().describe("the call that may have happened"),
  /** What a reviewer signs, without `outcome`, `reviewer`, `reason` and `issuedAt`. */
  statement: z.object({
    v: z.literal(1),
    type: z.literal("countersign/resolution/v1"),
    unknown: approvalId,
    team: name,
    run: runId,
    seq: z.int(),
    action: digest,
    nonce: z.string(),
  }),
});

export const listOutcomesQuery = z.strictObject({
  team: name.optional(),
  state: outcomeState.optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const outcomePage = z.object({ outcomes: z.array(unknownOutcome), next: z.string().nullable() });
export const resolveBody = signedWithKey;
export const resolvedOutcome = z.object({
  outcome: unknownOutcome,
  /** Whether the run has been told; if not, it is within seconds. */
  woken: z.boolean(),
});
