import { z } from "zod";

import { toolNamePattern } from "./ids.ts";
import { confidentialities, dataClasses } from "./labels.ts";
import { maxToolTimeoutMs } from "./release.ts";
import { maxTopK } from "./retrieval.ts";

/** What every source says of itself, whatever it is made of; manifests give some of it defaults. */
export const sourceFields = {
  name: z.string().regex(toolNamePattern, "must be letters, digits, `_` and `-`, at most 64, and begin with a letter"),
  description: z.string().min(1).max(10_000),
  effect: z.enum(["read", "egress"]),
  groups: z
    .array(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be lower-case letters, digits, `_` and `-`"))
    .max(32),
  /** Whose text the documents are, and how far they may travel. There is no default: somebody has to say. */
  results: z.strictObject({ origin: z.enum(["trusted", "untrusted"]), confidentiality: z.enum(confidentialities) }),
  dataClasses: z.exactOptional(z.array(z.enum(dataClasses)).max(dataClasses.length)),
  topK: z.int().min(1).max(maxTopK),
  short: z.boolean(),
  timeoutMs: z.int().min(1).max(maxToolTimeoutMs),
};

export const sourceFacts = z.strictObject(sourceFields);
