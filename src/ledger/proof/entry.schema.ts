import { z } from "zod";

import { digestPattern, namePattern, runIdPattern } from "../../core/ids.ts";
import { ledgerKinds } from "../../core/ledger-event.ts";

/** The most canonical bytes of one entry. */
export const maxEntryBytes = 16 * 1024;

const factsSchema = z.record(z.string(), z.union([z.string(), z.int(), z.array(z.string())]));

/** ASCII, since it is an index key too. */
const dedupKey = z.string().regex(/^[\x20-\x7e]{1,512}$/);
const at = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

export const ledgerEventSchema = z.strictObject({
  log: z.string().regex(namePattern),
  kind: z.enum(ledgerKinds),
  dedupKey,
  run: z.string().regex(runIdPattern).optional(),
  at,
  facts: factsSchema,
});

/** An entry of version 1. Its kind may be newer than this code: kinds are added. */
export const ledgerEntrySchema = z.strictObject({
  v: z.literal(1),
  kind: z.string().min(1),
  log: z.string().regex(namePattern),
  dedupKey,
  at,
  run: z
    .strictObject({
      id: z.string().regex(runIdPattern),
      seq: z.int().nonnegative(),
      prev: z.string().regex(digestPattern),
    })
    .optional(),
  facts: factsSchema,
});
