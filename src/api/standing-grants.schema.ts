import { z } from "zod";

import { decideBody, signedWithKey, signedWithPasskey } from "./approvals.schema.ts";
import { approvalId, digest, json, name, pageSize, principalId, time, toolName } from "./common.schema.ts";

const grantId = z
  .string()
  .regex(/^sgr_[0-9A-HJKMNP-TV-Z]{26}$/, "expected the id of a standing grant: `sgr_` and 26 characters");
const argument = z.string().min(1).max(128);

const target = z.union([
  z.strictObject({ argument, is: z.union([z.string().max(1_000), z.int(), z.boolean()]) }).describe("the very value"),
  z.strictObject({ argument, like: z.string().max(300) }).describe("a text, or a list of texts, like the pattern"),
  z.strictObject({ argument, absent: z.literal(true) }).describe("it is not given"),
]);
const sum = z
  .strictObject({ argument, max: z.int().min(1) })
  .describe("what a whole number may add up to, in all calls");

const bounds = {
  targets: z.array(target).min(1).max(50),
  unconstrained: z.array(argument).max(100).default([]).describe("arguments that may be anything"),
  uses: z.int().min(1).max(10_000),
  sum: sum.optional(),
  from: time.optional().describe("default: now"),
  until: time.describe("at most 90 days after `from`"),
  reason: z.string().trim().min(1).max(2_000),
};

/** Of the call that a request is about, or of a tool of the release in production and the policies that ask about it. */
export const draftStandingBody = z
  .union([
    z.strictObject({ request: approvalId, ...bounds }),
    z.strictObject({
      team: name,
      agent: name,
      tool: toolName,
      policies: z.array(z.string()).min(1).max(20),
      ...bounds,
    }),
  ])
  .meta({ id: "DraftStandingGrant" });

/** All that is agreed to. A careful client signs the digest of the terms that it shows. */
const terms = z
  .object({
    v: z.literal(1),
    team: name,
    agent: name,
    tool: z.string(),
    toolDigest: digest,
    requirements: z.array(
      z.looseObject({ policy: z.string(), group: z.string(), quorum: z.int(), expiresMs: z.int() }),
    ),
    targets: z.array(target),
    unconstrained: z.array(z.string()),
    uses: z.int(),
    sum: sum.optional(),
    from: time,
    until: time,
    reason: z.string(),
  })
  .meta({ id: "StandingTerms" });

/** What is signed, without `reviewer` and `issuedAt`. */
const statement = z.object({
  v: z.literal(1),
  type: z.literal("countersign/standing-grant/v1"),
  grant: grantId,
  team: name,
  agent: name,
  tool: z.string(),
  terms: digest,
  nonce: z.string(),
  expiresAt: time,
});

export const draftedStanding = z.object({ terms, statement });
const drawnUp = {
  terms: json.describe("as they were drawn up"),
  request: approvalId.optional().describe("the request that they were drawn up from"),
};
export const proposeStandingBody = z.union([signedWithKey.extend(drawnUp), signedWithPasskey.extend(drawnUp)]);
export const approveStandingBody = decideBody;

export const standingGrant = z
  .object({
    id: grantId,
    state: z
      .enum(["proposed", "active", "revoked", "lapsed", "ended", "used_up"])
      .describe("`lapsed`: it was not approved in time; `ended`: its time is up"),
    terms,
    termsDigest: digest,
    proposedBy: principalId,
    proposedAt: time,
    expiresAt: time.describe("until when it can be approved"),
    activeAt: time.nullable(),
    revokedAt: time.nullable(),
    revokedBy: principalId.nullable(),
    uses: z.int().describe("how often it was used"),
    total: z.int().describe("what its sum has come to"),
    lastUsedAt: time.nullable(),
  })
  .meta({ id: "StandingGrant" });
export type StandingGrantView = z.output<typeof standingGrant>;

export const standingDetail = z.object({
  grant: standingGrant,
  approvals: z.array(
    z.object({
      reviewer: principalId,
      groups: z.array(z.string()),
      at: time,
      kind: z.enum(["ed25519", "webauthn"]).describe("what it was signed with: a key file or a passkey"),
      insteadOf: principalId.nullable().describe("for whom they approved it, by a delegation"),
    }),
  ),
  statement: statement.describe("what an approver signs"),
  page: z.url().describe("where it is read and approved with a passkey"),
});
export const standingParams = z.object({ grant: grantId });
export const standingQuery = z.strictObject({
  team: name.optional(),
  agent: name.optional(),
  tool: toolName.optional(),
  all: z.enum(["true", "false"]).optional().describe("`true`: those that can be used no more too"),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const standingPage = z.object({ grants: z.array(standingGrant), next: z.string().nullable() });
export const revokedStanding = z.object({
  grant: standingGrant,
  changed: z.boolean().describe("false: it was revoked before"),
});
