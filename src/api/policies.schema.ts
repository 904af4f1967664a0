import { z } from "zod";

import { digest, name, principalId, time } from "./common.schema.ts";

/** As `src/policy` has it: the rooms do not know each other. */
export type PolicySetDocument = {
  readonly v: 1;
  readonly policies: readonly { readonly id: string; readonly text: string }[];
};

export const policySetDocument: z.ZodType<PolicySetDocument, PolicySetDocument> = z
  .strictObject({
    v: z.literal(1),
    policies: z.array(z.strictObject({ id: z.string().max(128), text: z.string().max(65_536) })).max(5_000),
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
