import { LRUCache } from "lru-cache";

import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { digestOf } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { RegistryError } from "./errors.ts";

/** A set as it is kept. What is in it is the policy room's to know. */
export type StoredPolicySet = { readonly digest: Digest; readonly document: Json };

// Immutable once stored, and asked for at every decision.
const known = new LRUCache<Digest, StoredPolicySet>({ max: 200 });

/** Puts a policy set in force for a team, from the next decision on. Returns its digest and whether it was not in force already. */
export async function activatePolicySet(
  tx: Tx,
  team: string,
  document: Json,
  by: string,
  now: Date,
): Promise<{ readonly digest: Digest; readonly activation: number | undefined }> {
  await lockPolicies(tx, team);
  const digest = await storePolicySet(tx, document, now);
  if ((await latestActivation(tx, team))?.policySet === digest) return { digest, activation: undefined };
  return { digest, activation: await insertActivation(tx, team, digest, by, now) };
}

/** Two changes of one team's policies come one after the other. */
export async function lockPolicies(tx: Tx, team: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`policy/${team}`]);
}

/** Keeps a policy set without putting it in force. Idempotent. */
export async function storePolicySet(tx: Tx, document: Json, now: Date): Promise<Digest> {
  const digest = digestOf(document);
  await tx.query(
    "insert into policy_set (digest, document, created_at) values ($1, $2, $3) on conflict (digest) do nothing",
    [digest, JSON.stringify(document), now],
  );
  return digest;
}

/** Puts a set that is kept in force. The caller holds `lockPolicies`. */
export async function insertActivation(
  tx: Tx,
  team: string,
  digest: Digest,
  by: string,
  now: Date,
  proposal?: number,
): Promise<number | undefined> {
  const { rows } = await tx.query<{ id: number }>(
    "insert into policy_activation (team, policy_set, at, by_principal, proposal) values ($1, $2, $3, $4, $5) returning id",
    [team, digest, now, by, proposal ?? null],
  );
  return rows[0]?.id;
}

export type PolicyActivation = {
  readonly id: number;
  readonly policySet: Digest;
  readonly at: Date;
  readonly by: string;
  /** The proposal that was approved for it, where the team's policies are guarded. */
  readonly proposal: number | null;
};

/** What was put in force for a team, newest first. */
export async function policyActivations(tx: Tx, team: string, limit: number): Promise<readonly PolicyActivation[]> {
  const { rows } = await tx.query<PolicyActivation>(
    `select id, policy_set as "policySet", at, by_principal as by, proposal from policy_activation
     where team = $1 order by id desc limit $2`,
    [team, limit],
  );
  return rows;
}

export async function latestActivation(tx: Tx, team: string): Promise<PolicyActivation | undefined> {
  return (await policyActivations(tx, team, 1))[0];
}

/** The policy set in force for a team, or undefined where none ever was. */
export async function activePolicySet(tx: Tx, team: string): Promise<StoredPolicySet | undefined> {
  const latest = await latestActivation(tx, team);
  return latest === undefined ? undefined : policySetByDigest(tx, latest.policySet);
}

/** Whose set it is or was: in force, proposed, or beside those in force. */
export async function teamsOfPolicySet(tx: Tx, digest: Digest): Promise<readonly string[]> {
  const { rows } = await tx.query<{ team: string }>(
    `select team from policy_activation where policy_set = $1 union select team from policy_proposal where policy_set = $1
     union select team from policy_shadow where policy_set = $1 order by team`,
    [digest],
  );
  return rows.map(({ team }) => team);
}

/** The set, rehashed on reading. Throws `policy_set_missing` or `policy_set_corrupt`. */
export async function policySetByDigest(tx: Tx, digest: Digest): Promise<StoredPolicySet> {
  const hit = known.get(digest);
  if (hit !== undefined) return hit;
  const { rows } = await tx.query<{ document: Json }>("select document from policy_set where digest = $1", [digest]);
  const row = rows[0];
  if (row === undefined) throw new RegistryError("policy_set_missing", `no policy set \`${digest}\``);
  if (digestOf(row.document) !== digest) {
    throw new RegistryError("policy_set_corrupt", `policy set \`${digest}\` has other contents than its name says`);
  }
  const found = { digest, document: row.document };
  known.set(digest, found);
  return found;
}
