import { z } from "zod";

import { name, principalId, time, toolName } from "./common.schema.ts";

/** What is not named is every one. */
export const freezeBody = z
  .strictObject({
    team: name.optional(),
    agent: name.optional(),
    tool: toolName.optional(),
    reason: z.string().min(1).max(500),
  })
  .refine(({ team, agent }) => agent === undefined || team !== undefined, "an agent needs its team")
  .refine(({ agent, tool }) => agent === undefined || tool === undefined, "either an agent or a tool")
  .meta({ id: "Freeze" });

export const freezeChanged = z.object({ changed: z.boolean().describe("false: it was so already") });

export const freezeView = z
  .object({
    team: name.nullable(),
    agent: name.nullable(),
    tool: toolName.nullable(),
    reason: z.string(),
    at: time,
    by: principalId,
  })
  .meta({ id: "FreezeInForce" });
export type FreezeView = z.output<typeof freezeView>;

export const freezePage = z.object({ freezes: z.array(freezeView) });
export const freezesQuery = z.strictObject({ team: name.optional() });
