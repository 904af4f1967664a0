import { z } from "zod";

import { name, pageSize, principalId, time, toolName } from "./common.schema.ts";

const delegationId = z
  .string()
  .regex(/^dlg_[0-9A-HJKMNP-TV-Z]{26}$/, "expected a delegation id: `dlg_` and 26 characters");

/** What is not named is every one. */
export const delegateBody = z
  .strictObject({
    delegate: principalId.describe("who may decide instead"),
    from: time.optional().describe("default: now"),
    until: time,
    team: name.optional(),
    tool: toolName.optional().describe("the tool or model that waits"),
    maxAmount: z.int().min(0).optional().describe("only requests whose amount (`@amount`) is known, and no greater"),
    reason: z.string().min(1).max(500),
  })
  .meta({ id: "Delegate" });

export const delegationView = z
  .object({
    id: delegationId,
    delegator: principalId,
    delegate: principalId,
    team: name.nullable(),
    tool: z.string().nullable(),
    maxAmount: z.int().nullable(),
    reason: z.string(),
    from: time,
    until: time,
    at: time,
    by: principalId,
    revokedAt: time.nullable(),
    state: z.enum(["ahead", "open", "ended", "revoked"]),
  })
  .meta({ id: "Delegation" });

export const delegationChanged = z.object({
  delegation: delegationView,
  changed: z.boolean().describe("false: it was so already"),
});
export const delegationParams = z.object({ delegation: delegationId });
export const delegationsQuery = z.strictObject({
  principal: principalId.optional().describe("from or to them"),
  all: z.enum(["true", "false"]).optional().describe("`true`: those that have ended too"),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const delegationPage = z.object({ delegations: z.array(delegationView), next: z.string().nullable() });
