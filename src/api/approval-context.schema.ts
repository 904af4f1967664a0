import { z } from "zod";

import { approvalId, microUsd, principalId, runId, time } from "./common.schema.ts";
import { approvalStates } from "../core/states.ts";

const origin = z.enum(["user", "operator", "trusted", "derived", "untrusted"]);

/** A value of the call, or a name of a property that the model chose, and where it stands word for word. */
const valueSource = z.object({
  path: z
    .string()
    .describe(
      "such as `lines[0].sku`, or `name of lines[0].x` for a name that the tool does not give; what would hide in it is written out",
    ),
  value: z.string().describe("its first characters, written out"),
  origin: origin.describe("as the policies saw the argument: the worst of its values"),
  places: z.array(z.string()).describe("empty: it stands nowhere that was looked at, the model made it"),
});

const message = z.object({
  step: z.int().nullable().describe("null: what the run began with"),
  by: z.enum(["operator", "user", "model", "tool"]),
  tool: z.string().nullable(),
  untrusted: z.boolean().describe("words of a model, or of a tool whose results others can write"),
  text: z.string().nullable().describe("what would hide in it is written out; null: it was erased"),
  note: z.string().describe("look-alike letters in it; empty: none"),
  characters: z.int(),
  cut: z.boolean(),
});

/** What helps to decide. Nothing of it is signed, or binds: the rendered action does. */
export const approvalContext = z
  .object({
    sources: z.array(valueSource),
    /** False: there was too much text, and the oldest was not looked at for `places`. */
    searchedAll: z.boolean(),
    flags: z.array(z.string()).describe("what the labels say of the call as a whole"),
    conversation: z.array(message),
    leftOut: z.int().describe("earlier messages that are not here: see the run"),
    policies: z.array(z.object({ policy: z.string(), reason: z.string() })),
    similar: z.object({
      states: z.partialRecord(z.enum(approvalStates), z.int()),
      reviewers: z.array(z.object({ reviewer: principalId, approved: z.int(), denied: z.int() })),
      last: z.array(
        z.object({
          id: approvalId,
          run: runId,
          state: z.enum(approvalStates),
          decidedAt: time,
          reviewers: z.array(principalId),
        }),
      ),
    }),
    cost: z.object({
      spentMicroUsd: microUsd,
      heldMicroUsd: microUsd,
      maxMicroUsd: microUsd,
      steps: z.int(),
      maxSteps: z.int(),
    }),
  })
  .meta({ id: "ApprovalContext" });
export type ApprovalContext = z.output<typeof approvalContext>;
