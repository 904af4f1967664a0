import { z } from "zod";

import { approvalIdPattern, runIdPattern } from "./ids.ts";
import type { ApprovalId, RunId } from "./ids.ts";
import { runFailureCodes } from "./run.ts";

/** Parsers of what workflows send to activities: whoever can reach Temporal can write a workflow, so nothing in it is trusted. */
const run = z
  .string()
  .regex(runIdPattern)
  .transform((id) => id as RunId);
const grant = z
  .string()
  .regex(approvalIdPattern)
  .transform((id) => id as ApprovalId)
  .optional();
const seq = z.int().min(0).max(1_000_000);

export const modelStepInput = z.strictObject({ run, seq, grant });
export const toolStepInput = z.strictObject({ run, seq, model: seq, call: z.int().min(0).max(1_000), grant });
export const openRunInput = z.strictObject({ run });
export const awaitThawInput = z.strictObject({
  run,
  model: seq.optional(),
  call: z.int().min(0).max(1_000).optional(),
});
export const closeRunInput = z.strictObject({
  run,
  status: z.enum(["completed", "failed", "cancelled"]),
  failure: z
    .strictObject({
      code: z.enum(runFailureCodes),
      message: z.string().max(500),
    })
    .optional(),
});
