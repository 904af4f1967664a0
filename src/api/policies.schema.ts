import { z } from "zod";

import { historyScopes } from "../core/decision.ts";
import type { HistoryFact } from "../core/decision.ts";
import { digest, name, principalId, time } from "./common.schema.ts";

/** As `src/policy` has it: the rooms do not know each other. */
export type PolicySetDocument = {
  readonly v: 1;
  readonly policies: readonly { readonly id: string; readonly text: string }[];
  readonly history?: readonly HistoryFact[];
};

/** What it may say exactly, the policy room knows. */
const historyFact = z.strictObject({
  name: z.string().max(63),
  measure: z.enum(["count", "sum"]),
  actions: z.array(z.string().max(128)).max(20),
  argument: z.exactOptional(z.string().max(128)),
  per: z.enum(historyScopes),
  withinMs: z.exactOptional(z.int().min(1)),
});

export const policySetDocument: z.ZodType<PolicySetDocument, PolicySetDocument> = z
  .strictObject({
    v: z.literal(1),
    policies: z.array(z.strictObject({ id: z.string().max(128), text: z.string().max(65_536) })).max(5_000),
    history: z.exactOptional(z.array(historyFact).max(50)),
  })
  .meta({ id: "PolicySetDocument" });

export const activatePolicyBody = z.strictObject({ document: policySetDocument });
export const activatedPolicy = z.object({
  team: name,
  policySet: digest,
  policies: z.int(),
  /** False: it was in force already. */
  changed: z.boolean(),
  warnings: z.array(z.string()),
});
export const activePolicy = z.object({
  team: name,
  policySet: digest,
  at: time.nullable(),
  by: principalId.nullable(),
  document: policySetDocument,
});
