import { z } from "zod";

import { approvalId, digest, json, name, pageSize, principalId, time } from "./common.schema.ts";
import { decideBody } from "./approvals.schema.ts";
import { grantIdPattern } from "../core/ids.ts";
import type { GrantId } from "../core/ids.ts";

const grantId = z
  .string()
  .regex(grantIdPattern, "expected a grant id: `sgr_` and 26 characters") as unknown as z.ZodType<GrantId, GrantId>;
export const grantParams = z.object({ grant: grantId });

export const proposeGrantBody = z.strictObject({
  request: approvalId.describe("a request for such a call: its tool, agent and approvers are the grant's"),
  where: z
    .record(z.string(), z.unknown())
    .describe('what arguments have to be: {"to": {"equals": "ada"}}, or `domain`, or `prefix`; at least one'),
  maxUses: z.int().min(1).max(100_000),
  sum: z.strictObject({ argument: z.string(), max: z.int().min(0) }).optional(),
  expiresAt: z.iso.datetime({ precision: 3 }),
});

export const grantView = z
  .object({
    id: grantId,
    team: name,
    agent: name,
    tool: z.string(),
    state: z.enum(["proposed", "active", "denied", "revoked", "expired"]),
    rendered: z.string().describe("all that it says, as text"),
    document: json.describe("all that it says, to hash"),
    uses: z.int(),
    maxUses: z.int(),
    sum: z.int(),
    maxSum: z.int().nullable(),
    proposedBy: principalId,
    proposedAt: time,
    expiresAt: time,
    revokedBy: principalId.nullable(),
    decidedBy: z.array(z.object({ reviewer: principalId, decision: z.enum(["approve", "deny"]), at: time })),
  })
  .meta({ id: "StandingGrant" });
export type GrantView = z.output<typeof grantView>;

export const grantDetail = z.object({
  grant: grantView,
  /** What a reviewer signs, without `decision`, `reviewer`, `reason` and `issuedAt`. */
  statement: z.object({
    v: z.literal(1),
    type: z.literal("countersign/standing-grant/v1"),
    grant: grantId,
    team: name,
    document: digest,
    nonce: z.string(),
  }),
});
export const proposedGrant = z.object({ grant: grantView });
export const grantDecideBody = decideBody;
export const revokeGrantBody = z.strictObject({ reason: z.string().trim().min(1).max(2_000) });
export const listGrantsQuery = z.strictObject({
  team: name.optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const grantPage = z.object({ grants: z.array(grantView), next: z.string().nullable() });
