import { z } from "zod";

import { approvalId, digest, nonce, reviewer, runId, stepSeq, time } from "./signed-fields.ts";
import type { SignedKind } from "./signed-text.ts";

const type = "countersign/edit/v1";

/** A reviewer's change of a call's arguments. Strict: an unknown field would be signed without being understood. */
const schema = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  request: approvalId,
  team: z.string(),
  run: runId,
  seq: stepSeq,
  /** Digest of the action as it was asked about, and of the text that the reviewer was shown. */
  action: digest,
  rendered: digest,
  policySet: digest,
  /** Digest of the action with the new arguments, and of those. */
  edited: digest,
  arguments: digest,
  reviewer,
  /** Why; the agent is told. */
  reason: z.string().max(2_000),
  nonce,
  issuedAt: time,
  /** The request's expiry. */
  expiresAt: time,
});

export type EditStatement = z.output<typeof schema>;
export const editKind: SignedKind<EditStatement> = { type, schema };
