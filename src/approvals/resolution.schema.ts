import { z } from "zod";

import { approvalIdPattern, digestPattern, runIdPattern } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { ChangedCall, ToolResult } from "../core/transcript.ts";
import type { SignedKind } from "./signed-text.ts";

const type = "countersign/resolution/v1";

/** What somebody who looked says of a call whose outcome is unknown. Strict: an unknown field would be signed without being understood. */
const schema = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  unknown: z
    .string()
    .regex(approvalIdPattern)
    .transform((value) => value as ApprovalId),
  team: z.string(),
  run: z
    .string()
    .regex(runIdPattern)
    .transform((value) => value as RunId),
  seq: z.int().min(0),
  /** Digest of the action: exactly what may have been done. */
  action: z
    .string()
    .regex(digestPattern)
    .transform((value) => value as Digest),
  outcome: z.enum(["happened", "did_not_happen"]),
  reviewer: z.string().min(1),
  /** How they know; the agent is told. */
  reason: z.string().trim().min(1).max(2_000),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  issuedAt: z.iso.datetime({ precision: 3 }),
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
