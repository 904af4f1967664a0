import { userInfo } from "node:os";
import { join } from "node:path";

import { addReviewerKey, listKeys, proposeKey, publicKeyOf } from "../approvals/index.ts";
import type { ReviewerKey } from "../approvals/index.ts";
import { codeOf } from "../core/errors.ts";
import { secretOf } from "../dev/index.ts";
import type { Home } from "../dev/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { hashToken, newToken, putPrincipal } from "../registry/index.ts";
import type { Principal } from "../registry/index.ts";
import { keyAdded, keyProposed } from "../server/index.ts";
import { inTransaction } from "../store/index.ts";
import type { Pool, Tx } from "../store/index.ts";
import { privateKeyIn } from "./key-file.ts";

export type People = {
  /** The operator's, who registers agents and starts runs. */
  readonly token: string;
  readonly reviewer: { readonly principal: string; readonly token: string; readonly keyFile: string };
};

/**
 * The two principals of a machine of one's own: one who asks and one who approves, since nobody may do both. Their tokens and the
 * reviewer's key are files of the data directory. The operator is also the admin who confirms keys, which on a machine of one's own is the
 * same person: nothing there is proof to anybody else.
 */
export async function setUpPeople(pool: Pool, home: Home): Promise<People> {
  const operatorToken = `cs_${secretOf(home, "operator-token")}`;
  const reviewerToken = `cs_${secretOf(home, "reviewer-token")}`;
  const keyFile = join(home.secrets, "reviewer.pem");
  const user = userName();
  const operator = {
    id: `${user}@operator`,
    displayName: `${user} (operator)`,
    roles: ["operator", "auditor", "admin"],
    groups: [],
  } as const;
  const reviewer = {
    id: `${user}@reviewer`,
    displayName: `${user} (reviewer)`,
    roles: ["reviewer", "auditor"],
    groups: ["budget", "reviewers", "treasury"],
  } as const;
  const now = new Date();
  await inTransaction(pool, async (tx) => {
    await putPrincipal(tx, operator, hashToken(operatorToken));
    await putPrincipal(tx, reviewer, hashToken(reviewerToken));
    const publicKey = publicKeyOf(privateKeyIn(keyFile));
    await enrolKey(tx, { principal: reviewer.id, publicKey, addedBy: operator.id, now }).catch((error: unknown) => {
      // Revoked on purpose: everything else goes on.
      if (codeOf(error) !== "key_revoked") throw error;
    });
  });
  return { token: operatorToken, reviewer: { principal: reviewer.id, token: reviewerToken, keyFile } };
}

export type NewPerson = Principal & {
  /** SPKI of an Ed25519 key, base64: what they will sign decisions with. */
  readonly publicKey: string | undefined;
};

export type AddedPerson = {
  /** Stored nowhere. */
  readonly token: string;
  /** What has to be confirmed before it counts; undefined where nothing has to. */
  readonly proposed: string | undefined;
};

/** Adds a person, or brings one up to date with a new token, and enrols their key. */
export async function addPerson(pool: Pool, person: NewPerson, addedBy: string): Promise<AddedPerson> {
  const token = newToken();
  const { publicKey, ...principal } = person;
  const now = new Date();
  const proposed = await inTransaction(pool, async (tx) => {
    await putPrincipal(tx, principal, hashToken(token));
    if (publicKey === undefined) return undefined;
    const key = await enrolKey(tx, { principal: person.id, publicKey, addedBy, now });
    return key.confirmedAt === null ? key.keyId : undefined;
  });
  return { token, proposed };
}

type Enrolment = {
  readonly principal: string;
  readonly publicKey: string;
  readonly addedBy: string;
  readonly now: Date;
};

/**
 * The first key of an empty database is enrolled by whoever owns that, which the ledger says: somebody has to be first. Every later one is
 * proposed, and counts when a second person has confirmed it. Whoever starts at the same time waits, and is not first.
 */
async function enrolKey(tx: Tx, enrolment: Enrolment): Promise<ReviewerKey> {
  await tx.query("lock table reviewer_key in share row exclusive mode");
  const isFirst = (await listKeys(tx, { limit: 1 })).length === 0;
  const { key, added } = await (isFirst ? addReviewerKey : proposeKey)(tx, enrolment);
  if (added) await appendToOutbox(tx, [isFirst ? keyAdded(key) : keyProposed(key)]);
  return key;
}

export function userName(): string {
  const name = userInfo()
    .username.toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, "-");
  return /^[a-z0-9]/.test(name) ? name : "user";
}
