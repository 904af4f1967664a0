import { z } from "zod";

import { approvalIdPattern, digestPattern, runIdPattern } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";

const digest = z
  .string()
  .regex(digestPattern)
  .transform((value) => value as Digest);
const time = z.iso.datetime({ precision: 3 });

export const approvalType = "countersign/approval/v1";

/** What a reviewer decides on and signs. Strict: an unknown field would be signed without being understood. */
export const statementSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal(approvalType),
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
  /** Digest of the action: exactly what would be done. */
  action: digest,
  /** Digest of the text that the reviewer was shown. */
  rendered: digest,
  policySet: digest,
  decision: z.enum(["approve", "deny"]),
  reviewer: z.string().min(1),
  reason: z.string().max(2_000),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  issuedAt: time,
  /** The request's expiry. */
  expiresAt: time,
});

export type ApprovalStatement = z.output<typeof statementSchema>;
