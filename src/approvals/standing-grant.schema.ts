import { z } from "zod";

import { approvalIdPattern, digestPattern, grantIdPattern, namePattern, toolNamePattern } from "../core/ids.ts";
import type { ApprovalId, Digest, GrantId } from "../core/ids.ts";
import type { StandingGrant } from "../core/standing-grant.ts";
import type { SignedKind } from "./signed-text.ts";

const digest = z
  .string()
  .regex(digestPattern)
  .transform((value) => value as Digest);
const time = z.iso.datetime({ precision: 3 });
const argument = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,127}$/, "must be the plain name of one argument");
const amount = z.int().min(0);
/** Postgres keeps no NUL, and half a character has no canonical form. */
const text = z.string().refine((value) => value.isWellFormed() && !value.includes("\0"), "must be plain text");

export const targetSchema = z.union([
  z.strictObject({ equals: z.union([text.max(2_000), z.number(), z.boolean()]) }),
  z.strictObject({
    domain: z.string().regex(/^(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+$/, "must be a plain lower-case domain"),
  }),
  z.strictObject({ prefix: text.min(4).max(2_000) }),
]);

export const whereSchema = z
  .record(argument, targetSchema)
  .refine((where) => Object.keys(where).length > 0 && Object.keys(where).length <= 20, "needs 1 to 20 arguments");

export const sumSchema = z.strictObject({ argument, max: amount });

/** Strict: an unknown bound would be signed without being kept to. */
const documentSchema = z.strictObject({
  v: z.literal(1),
  team: z.string().regex(namePattern),
  agent: z.string().regex(namePattern),
  tool: z.string().regex(toolNamePattern),
  toolDigest: digest,
  requirements: z
    .array(z.strictObject({ policy: z.string(), text: digest, group: z.string(), quorum: z.int().min(1) }))
    .min(1),
  where: whereSchema,
  maxUses: z.int().min(1).max(100_000),
  sum: z.exactOptional(sumSchema),
  expiresAt: time,
  request: z
    .string()
    .regex(approvalIdPattern)
    .transform((value) => value as ApprovalId),
  proposedBy: z.string().min(1),
});

/** The grant in a document that anybody may have written, or undefined where it is none. */
export function readGrant(document: unknown): StandingGrant | undefined {
  const parsed = documentSchema.safeParse(document);
  return parsed.success ? parsed.data : undefined;
}

const type = "countersign/standing-grant/v1";
const statementSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  grant: z
    .string()
    .regex(grantIdPattern)
    .transform((value) => value as GrantId),
  team: z.string(),
  /** Digest of all that it says. */
  document: digest,
  decision: z.enum(["approve", "deny"]),
  reviewer: z.string().min(1),
  reason: z.string().max(2_000),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  issuedAt: time,
});
export type GrantStatement = z.output<typeof statementSchema>;
export const grantKind: SignedKind<GrantStatement> = { type, schema: statementSchema };
