import { z } from "zod";

import type { ChangedCall, ToolResult } from "../core/transcript.ts";
import { approvalId, digest, nonce, reviewer, runId, stepSeq, time } from "./signed-fields.ts";
import type { SignedKind } from "./signed-text.ts";

const type = "countersign/resolution/v1";

/** What somebody who looked says of a call whose outcome is unknown. Strict: an unknown field would be signed without being understood. */
const schema = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  unknown: approvalId,
  team: z.string(),
  run: runId,
  seq: stepSeq,
  /** Digest of the action: exactly what may have been done. */
  action: digest,
  outcome: z.enum(["happened", "did_not_happen"]),
  reviewer,
  /** How they know; the agent is told. */
  reason: z.string().trim().min(1).max(2_000),
  nonce,
  issuedAt: time,
});

export type ResolutionStatement = z.output<typeof schema>;
export const resolutionKind: SignedKind<ResolutionStatement> = { type, schema };

/**
 * What the agent is told: a function of the statement, and of what a reviewer had made of the call before it was begun, so that an auditor
 * finds the same.
 */
export function resolvedResult({ outcome, reason }: ResolutionStatement, changed?: ChangedCall): ToolResult {
  const looked = "the call was interrupted, and a person looked";
  const made = changed === undefined ? {} : { changed };
  return outcome === "happened"
    ? { status: "ok", value: { reconciled: `${looked}: it took effect; its own result is lost`, reason }, ...made }
    : { status: "error", message: `${looked}: it did not take effect: ${reason}`, ...made };
}
