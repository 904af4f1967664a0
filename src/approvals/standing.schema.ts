import { z } from "zod";

import { namePattern, toolNamePattern } from "../core/ids.ts";
import type { Digest } from "../core/ids.ts";
import type { StandingTerms } from "../core/standing-grant.ts";
import { digest, nonce, reviewer, time } from "./signed-fields.ts";
import type { SignedKind } from "./signed-text.ts";

export const standingIdPattern = /^sgr_[0-9A-HJKMNP-TV-Z]{26}$/;
const type = "countersign/standing-grant/v1";
const argument = z.string().min(1).max(128);

const target = z.union([
  z.strictObject({ argument, is: z.union([z.string().max(1_000), z.int(), z.boolean()]) }),
  z.strictObject({ argument, like: z.string().max(300) }),
  z.strictObject({ argument, absent: z.literal(true) }),
]);

const requirement = z.strictObject({
  policy: z.string(),
  group: z.string(),
  quorum: z.int().min(1),
  expiresMs: z.int().min(1),
  remindMs: z.int().optional(),
  amount: z.string().optional(),
  editorCounts: z.literal(true).optional(),
});

export const maxUses = 10_000;

/** Strict: an unknown term would be signed without being understood. What asks for more than groups and quorums has no place in it. */
const terms = z.strictObject({
  v: z.literal(1),
  team: z.string().regex(namePattern),
  agent: z.string().regex(namePattern),
  tool: z.string().regex(toolNamePattern),
  toolDigest: digest,
  requirements: z.array(requirement).min(1).max(20),
  targets: z.array(target).min(1).max(50),
  unconstrained: z.array(argument).max(100),
  uses: z.int().min(1).max(maxUses),
  sum: z.strictObject({ argument, max: z.int().min(1) }).optional(),
  from: time,
  until: time,
  reason: z.string().trim().min(1).max(2_000),
});

/** The terms in a document that anybody may have written, or undefined where it holds none. */
export function readTerms(document: unknown): StandingTerms | undefined {
  const parsed = terms.safeParse(document);
  return parsed.success ? (parsed.data as unknown as StandingTerms) : undefined;
}

const statement = z.strictObject({
  v: z.literal(1),
  type: z.literal(type),
  grant: z.string().regex(standingIdPattern),
  team: z.string(),
  agent: z.string(),
  tool: z.string(),
  /** Digest of the terms. */
  terms: digest,
  reviewer,
  nonce,
  issuedAt: time,
  /** Until when the grant can be approved. */
  expiresAt: time,
});

/** What each approver of a standing grant signs, its proposer first. */
export type StandingStatement = z.output<typeof statement>;
export const standingKind: SignedKind<StandingStatement> = { type, schema: statement };

/** What of a grant is signed. */
export type SignedGrant = {
  readonly id: string;
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  readonly termsDigest: Digest;
  readonly expiresAt: Date;
};

/** What a statement takes from the grant that it is on. */
export function standingFacts({ id, team, agent, tool, termsDigest, expiresAt }: SignedGrant) {
  const of = { grant: id, team, agent, tool, terms: termsDigest, expiresAt: expiresAt.toISOString() };
  return { v: 1, type, ...of } as const;
}

/** The first field of a statement that has to be the grant's own, or the reviewer's, and is not. */
export function standingMismatch(
  statement: StandingStatement,
  grant: SignedGrant,
  reviewer: string,
): string | undefined {
  const expected: Partial<StandingStatement> = { ...standingFacts(grant), reviewer };
  return Object.entries(expected).find(([name, value]) => statement[name as keyof StandingStatement] !== value)?.[0];
}
