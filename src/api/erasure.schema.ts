import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { name, principalId, runId, time } from "./common.schema.ts";

const subject = z.string().min(1).max(500).describe("the id of whom runs act for, as they were started with");
const reason = z.string().trim().min(1).max(500);
const target = { subject: subject.optional(), run: runId.optional() };

function ofOne(body: { readonly subject?: string | undefined; readonly run?: string | undefined }): boolean {
  return (body.subject === undefined) !== (body.run === undefined);
}
const eitherOne = "give either a subject or a run";

export const eraseBody = z
  .strictObject({
    ...target,
    reason,
    dryRun: z.boolean().optional().describe("only tell what would be erased"),
  })
  .refine(ofOne, eitherOne)
  .meta({ id: "Erase" });

export const erasure = z
  .object({
    erased: z.boolean().describe("false: nothing was erased, as asked for or because nothing is left"),
    runs: z.int().describe("runs whose contents are erased, or would be"),
    payloads: z.int().describe("their contents: inputs, answers, arguments, results, what reviewers were shown"),
    before: z.int().describe("runs whose contents were erased before"),
    older: z.int().describe("runs from before each had a key of its own: their contents stay"),
    teams: z.array(name).describe("whose logs have, or would have, the entry `payload.erased`"),
    obstacles: z.array(z.string()).describe("why it would be refused now"),
  })
  .meta({ id: "Erasure" });

export const holdView = z
  .object({
    id: z.string(),
    on: z.enum(["subject", "run"]),
    run: runId.nullable(),
    reason: z.string(),
    placedBy: principalId,
    placedAt: time,
    liftedBy: principalId.nullable(),
    liftedAt: time.nullable(),
    liftReason: z.string().nullable(),
  })
  .meta({ id: "LegalHold" });
export type HoldView = z.output<typeof holdView>;

export const placeHoldBody = z
  .strictObject({ ...target, reason })
  .refine(ofOne, eitherOne)
  .meta({ id: "PlaceHold" });
export const placedHold = z.object({
  hold: holdView,
  runs: z.int().describe("how many runs it keeps as of now; more may begin"),
});
export const liftedHold = z.object({ hold: holdView });
export const liftHoldBody = z
  .strictObject({ hold: z.string().max(100).optional(), ...target, reason })
  .refine(
    (body) => [body.hold, body.subject, body.run].filter((one) => one !== undefined).length === 1,
    "give one of a hold, a subject and a run",
  )
  .meta({ id: "LiftHold" });
export const listHoldsBody = z
  .strictObject({ ...target, all: z.boolean().optional().describe("also those that were lifted") })
  .refine((body) => body.subject === undefined || body.run === undefined, eitherOne)
  .meta({ id: "ListHolds" });
export const holdPage = z.object({ holds: z.array(holdView) });

const days = z.int().min(0).max(36_500);
const effects = z.partialRecord(z.enum(effectClasses), days);
export const retentionBody = z
  .strictObject({
    team: name,
    days: days.nullable().describe("how long contents of closed runs are kept; null: for ever"),
    effects: effects.optional().describe("instead, for runs that had such effects; the longest counts"),
    reason,
    dryRun: z.boolean().optional().describe("only tell what would be erased under it now"),
  })
  .refine((body) => body.days !== null || Object.keys(body.effects ?? {}).length === 0, {
    path: ["effects"],
    message: "what is kept for ever has no other times",
  })
  .meta({ id: "SetRetention" });
export const retentionSet = z.object({
  set: z.boolean().describe("false: nothing was set, as asked for"),
  due: z.array(runId).describe("runs whose contents are past it now, the oldest first, at most 1000"),
});
export const retentionPage = z.object({
  retentions: z.array(
    z.object({
      team: name,
      days: days.nullable(),
      effects,
      due: z.int().describe("runs whose contents are past it, at most 1000"),
      at: time,
      by: principalId,
      reason: z.string(),
    }),
  ),
});
