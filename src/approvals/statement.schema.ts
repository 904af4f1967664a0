import { z } from "zod";

import { approvalId, digest, nonce, reviewer, runId, stepSeq, time } from "./signed-fields.ts";

export const approvalType = "countersign/approval/v1";

/** What a reviewer decides on and signs. Strict: an unknown field would be signed without being understood. */
export const statementSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal(approvalType),
  request: approvalId,
  team: z.string(),
  run: runId,
  seq: stepSeq,
  /** Digest of the action: exactly what would be done. */
  action: digest,
  /** Digest of the text that the reviewer was shown. */
  rendered: digest,
  policySet: digest,
  decision: z.enum(["approve", "deny"]),
  reviewer,
  reason: z.string().max(2_000),
  nonce,
  issuedAt: time,
  /** The request's expiry. */
  expiresAt: time,
});

export type ApprovalStatement = z.output<typeof statementSchema>;
