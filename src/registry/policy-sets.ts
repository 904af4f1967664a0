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
  const digest = digestOf(document);
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`policy/${team}`]);
  await tx.query(
    "insert into policy_set (digest, document, created_at) values ($1, $2, $3) on conflict (digest) do nothing",
    [digest, JSON.stringify(document), now],
  );
  if ((await activeDigest(tx, team)) === digest) return { digest, activation: undefined };
  const { rows } = await tx.query<{ id: number }>(
    "insert into policy_activation (team, policy_set, at, by_principal) values ($1, $2, $3, $4) returning id",
    [team, digest, now, by],
  );
  return { digest, activation: rows[0]?.id };
}

/** The policy set in force for a team, or undefined where none ever was. */
export async function activePolicySet(tx: Tx, team: string): Promise<StoredPolicySet | undefined> {
  const digest = await activeDigest(tx, team);
  return digest === undefined ? undefined : policySetByDigest(tx, digest);
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

async function activeDigest(tx: Tx, team: string): Promise<Digest | undefined> {
  const { rows } = await tx.query<{ policy_set: Digest }>(
    "select policy_set from policy_activation where team = $1 order by id desc limit 1",
    [team],
  );
  return rows[0]?.policy_set;
}
