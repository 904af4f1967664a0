import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Tx } from "../store/index.ts";
import { lockPolicies, storePolicySet } from "./policy-sets.ts";

/** A candidate that decides beside a team's policies, and changes nothing. */
export type PolicyShadow = {
  readonly id: number;
  readonly policySet: Digest;
  readonly at: Date;
  readonly by: string;
};

/**
 * Sets the candidate of a team, or none. The same again starts its counts afresh. Returns the event's id, or undefined where there was
 * none to end.
 */
export async function setShadow(
  tx: Tx,
  team: string,
  document: Json | undefined,
  by: string,
  now: Date,
): Promise<{ readonly id: number | undefined; readonly policySet: Digest | undefined }> {
  await lockPolicies(tx, team);
  const policySet = document === undefined ? undefined : await storePolicySet(tx, document, now);
  if (policySet === undefined && (await activeShadow(tx, team)) === undefined) return { id: undefined, policySet };
  const { rows } = await tx.query<{ id: number }>(
    "insert into policy_shadow (team, policy_set, at, by_principal) values ($1, $2, $3, $4) returning id",
    [team, policySet ?? null, now, by],
  );
  return { id: rows[0]?.id, policySet };
}

export async function activeShadow(tx: Tx, team: string): Promise<PolicyShadow | undefined> {
  const { rows } = await tx.query<Omit<PolicyShadow, "policySet"> & { policySet: Digest | null }>(
    `select id, policy_set as "policySet", at, by_principal as by from policy_shadow where team = $1 order by id desc limit 1`,
    [team],
  );
  const latest = rows[0];
  return latest === undefined || latest.policySet === null ? undefined : { ...latest, policySet: latest.policySet };
}

/** How often a candidate's decision differed in one way. */
export type ShadowCount = {
  readonly kind: string;
  readonly policy: string;
  readonly name: string;
  readonly count: number;
};

/** Adds to a candidate's counts. One statement, in one order everywhere, so that two workers cannot lock each other out. */
export async function addShadowCounts(
  tx: Tx,
  shadow: number,
  counts: readonly ShadowCount[],
  now: Date,
): Promise<void> {
  if (counts.length === 0) return;
  const key = ({ kind, policy, name }: ShadowCount) => `${kind}\n${policy}\n${name}`;
  const rows = counts.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  await tx.query(
    `insert into policy_shadow_count (shadow, kind, policy, name, count, first_at, last_at)
     select $1, kind, policy, name, count, $6, $6
     from unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) as given (kind, policy, name, count)
     on conflict (shadow, kind, policy, name) do update
     set count = policy_shadow_count.count + excluded.count, last_at = excluded.last_at`,
    [
      shadow,
      rows.map(({ kind }) => kind),
      rows.map(({ policy }) => policy),
      rows.map(({ name }) => name),
      rows.map(({ count }) => count),
      now,
    ],
  );
}

/** A candidate's counts, the largest first. */
export async function shadowCounts(
  tx: Tx,
  shadow: number,
): Promise<readonly (ShadowCount & { readonly firstAt: Date; readonly lastAt: Date })[]> {
  const { rows } = await tx.query<ShadowCount & { firstAt: Date; lastAt: Date }>(
    `select kind, policy, name, count, first_at as "firstAt", last_at as "lastAt" from policy_shadow_count
     where shadow = $1 order by count desc, kind, policy, name limit 1000`,
    [shadow],
  );
  return rows;
}
