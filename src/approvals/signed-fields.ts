import { z } from "zod";

import { approvalIdPattern, digestPattern, runIdPattern } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";

/** Fields of what people sign, as every statement has them. */
export const digest = z
  .string()
  .regex(digestPattern)
  .transform((value) => value as Digest);
export const approvalId = z
  .string()
  .regex(approvalIdPattern)
  .transform((value) => value as ApprovalId);
export const runId = z
  .string()
  .regex(runIdPattern)
  .transform((value) => value as RunId);
export const stepSeq = z.int().min(0);
/** ISO 8601 in UTC, with milliseconds. */
export const time = z.iso.datetime({ precision: 3 });
export const nonce = z.string().regex(/^[A-Za-z0-9_-]{22,64}$/);
export const reviewer = z.string().min(1);
