import { z } from "zod";

import type { RunEvidence, RunRecord } from "../core/run-record.ts";
import { count } from "./common.schema.ts";

/**
 * The record is an auditor's evidence, and `src/core/run-record.ts` is its format. Here only its outline is checked: whoever
 * verifies it reads it defensively, since whoever serves it is not trusted.
 */
export const runRecord = z
  .looseObject({
    v: z.literal(1),
    run: z.looseObject({ id: z.string() }),
    release: z.looseObject({}),
    input: z.looseObject({ prompt: z.string() }),
    steps: z.array(z.looseObject({ seq: z.int() })),
    decisions: z.array(z.looseObject({ seq: z.int() })),
    approvals: z.array(z.looseObject({ id: z.string() })),
    policySets: z.record(z.string(), z.unknown()),
    payloads: z.record(z.string(), z.unknown()),
    histories: z.array(z.object({ temporalRunId: z.string(), history: z.unknown() })),
    ledger: z.looseObject({
      checkpoint: z.string().nullable(),
      verifierKey: z.string(),
      entries: z.array(z.looseObject({})),
    }),
  })
  .meta({ id: "RunRecord" }) as unknown as z.ZodType<RunRecord, RunRecord>;

export const runEvidenceQuery = z.strictObject({
  size: count.optional().describe("prove to the signed checkpoint of this size; default: the latest"),
});
/** The same without contents. Its outline only, for the same reason. */
export const runEvidence = z
  .looseObject({
    v: z.literal(1),
    run: z.looseObject({ id: z.string(), team: z.string(), release: z.string() }),
    release: z.looseObject({}),
    steps: z.array(z.looseObject({ seq: z.int() })),
    decisions: z.array(z.looseObject({ seq: z.int() })),
    approvals: z.array(z.looseObject({ id: z.string() })),
    policySets: z.record(z.string(), z.unknown()),
    histories: z.array(z.object({ temporalRunId: z.string(), history: z.unknown() })),
    ledger: z.looseObject({
      checkpoint: z.string().nullable(),
      verifierKey: z.string(),
      entries: z.array(z.looseObject({ index: z.int(), leaf: z.string() })),
    }),
    context: z.array(z.looseObject({ index: z.int(), leaf: z.string() })),
    statement: z
      .object({
        payloadType: z.string(),
        payload: z.string(),
        signatures: z.array(z.object({ keyid: z.string(), sig: z.string() })),
      })
      .nullable(),
  })
  .meta({ id: "RunEvidence" }) as unknown as z.ZodType<RunEvidence, RunEvidence>;

export const bundleView = z.object({
  digest: z.string(),
  code: z.string().describe("the workflow bundle's JavaScript"),
});
