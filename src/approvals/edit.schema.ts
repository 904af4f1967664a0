import { z } from "zod";

import { approvalIdPattern, digestPattern, runIdPattern } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { SignedKind } from "./signed-text.ts";

const type = "countersign/edit/v1";
const digest = z
  .string()
  .regex(digestPattern)
  .transform((value) => value as Digest);
const time = z.iso.datetime({ precision: 3 });

/** A reviewer's change of a call's arguments. Strict: an unknown field would be signed without being understood. */
const schema = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  request: z
    .string()
    .regex(approvalIdPattern)
    .transform((value) => value as ApprovalId),
  team: z.string(),
  run: z
    .string()
    .regex(runIdPattern)
    .transform((value) => value as RunId),
  seq: z.int().min(0),
  /** Digest of the action as it was asked about, and of the text that the reviewer was shown. */
  action: digest,
  rendered: digest,
  policySet: digest,
  /** Digest of the action with the new arguments, and of those. */
  edited: digest,
  arguments: digest,
  reviewer: z.string().min(1),
  /** Why; the agent is told. */
  reason: z.string().max(2_000),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  issuedAt: time,
  /** The request's expiry. */
  expiresAt: time,
});

export type EditStatement = z.output<typeof schema>;
export const editKind: SignedKind<EditStatement> = { type, schema };
