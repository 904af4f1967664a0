import { z } from "zod";

import { stepKinds } from "../core/action.ts";
import {
  approvalIdPattern,
  digestPattern,
  namePattern,
  runIdPattern,
  teamNameProblem,
  toolNamePattern,
} from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { roles } from "../core/roles.ts";
import type { Role } from "../core/roles.ts";

/** The same schema, with the branded type that the pattern proves. */
function branded<Value>(schema: z.ZodType): z.ZodType<Value, Value> {
  return schema as z.ZodType<Value, Value>;
}

/** The longest request body that the server reads, in bytes: prompts may have a megabyte, and a policy set several. */
export const maxBodyBytes = 8 * 1024 * 1024;

export const digest = branded<Digest>(z.string().regex(digestPattern, "expected 64 hexadecimal digits"));
export const runId = branded<RunId>(z.string().regex(runIdPattern, "expected a run id: `run_` and 26 characters"));
export const approvalId = branded<ApprovalId>(
  z.string().regex(approvalIdPattern, "expected an approval id: `apr_` and 26 characters"),
);
export const name = z
  .string()
  .regex(namePattern, "expected lower-case letters, digits and `-`, a letter first, at most 63 characters");
/** A team to be: of one that is there, `name` will do. */
export const teamName = name.superRefine((team, context) => {
  const problem = teamNameProblem(team);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});
export const toolName = z.string().regex(toolNamePattern, "expected letters, digits, `_` and `-`, a letter first");
export const principalId = z.string().min(1).max(200);
export const json = branded<Json>(z.unknown());
export const jsonObject = branded<JsonObject>(z.record(z.string(), z.unknown()));
/** ISO 8601 in UTC. */
export const time = z.iso.datetime();
export const microUsd = z.int();
export const stepKind = z.enum(stepKinds);

/** Queries come as text. */
export const pageSize = z.coerce.number().int().min(1).max(200).default(50);
export const count = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export { roles };
export type { Role };
