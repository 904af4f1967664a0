import { z } from "zod";

import { count, digest } from "./common.schema.ts";

export const checkpointView = z
  .object({
    log: z.string(),
    checkpoint: z.string().describe("the signed note (C2SP tlog-checkpoint), with the cosignatures that it has"),
  })
  .meta({ id: "Checkpoint" });

export const checkpointQuery = z.strictObject({
  cosigned: z
    .stringbool()
    .default(false)
    .describe("the newest that a quorum of the configured witnesses cosigned, if any; else the newest"),
});

export const logPage = z.object({
  logs: z.array(
    z.object({
      log: z.string(),
      size: count.describe("entries, signed or not yet"),
      signed: count.describe("entries that the latest checkpoint covers; 0: none was signed"),
      stopped: z.string().nullable().describe("why this server signs it no more, or null"),
    }),
  ),
});

export const verifierKeyView = z.object({
  log: z.string(),
  origin: z.string().describe("what the log's checkpoints begin with"),
  verifierKey: z.string().describe("`name+hash+base64`; an auditor pins it once, out of band"),
});

export const entriesQuery = z.strictObject({
  from: count.default(0),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
export const entryPage = z.object({
  log: z.string(),
  entries: z.array(z.object({ index: z.int(), leaf: z.string().describe("the leaf's exact bytes, as text") })),
  /** Where the next page begins, or null at the end. */
  next: z.int().nullable(),
});

export const inclusionQuery = z.strictObject({ index: count, size: count });
export const consistencyQuery = z.strictObject({ from: count, to: count });
export const proofView = z.object({ log: z.string(), proof: z.array(digest).describe("hashes, RFC 6962 order") });
