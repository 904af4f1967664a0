import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

import { addReviewerKey, publicKeyOf } from "../approvals/index.ts";
import { secretOf } from "../dev/index.ts";
import type { Home } from "../dev/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { hashToken, newToken, putPrincipal } from "../registry/index.ts";
import type { Role } from "../registry/index.ts";
import { inTransaction } from "../store/index.ts";
import type { Pool, Tx } from "../store/index.ts";

/** The log that enrolments of reviewers' keys are entered in. */
const peopleLog = "people";

export type People = {
  /** The operator's, who registers agents and starts runs. */
  readonly token: string;
  readonly reviewer: { readonly principal: string; readonly token: string; readonly keyFile: string };
};

/**
 * The two principals of a machine of one's own: one who asks and one who approves, since nobody may do both. Their tokens and the
 * reviewer's key are files of the data directory.
 */
export async function setUpPeople(pool: Pool, home: Home): Promise<People> {
  const operatorToken = `cs_${secretOf(home, "operator-token")}`;
  const reviewerToken = `cs_${secretOf(home, "reviewer-token")}`;
  const keyFile = join(home.secrets, "reviewer.pem");
  const user = userName();
  const operator = {
    id: `${user}@operator`,
    displayName: `${user} (operator)`,
    roles: ["operator", "auditor"],
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
    await enrolKey(tx, {
      principal: reviewer.id,
      publicKey: publicKeyOf(privateKeyIn(keyFile)),
      addedBy: operator.id,
      now,
    });
  });
  return { token: operatorToken, reviewer: { principal: reviewer.id, token: reviewerToken, keyFile } };
}

export type NewPerson = {
  readonly id: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** Who is behind it, where they have other accounts too. */
  readonly person?: string;
  /** SPKI of an Ed25519 key, base64: what they will sign decisions with. */
  readonly publicKey: string | undefined;
};

/** Adds a person, or brings one up to date with a new token, and enrols their key. Returns the token: it is stored nowhere. */
export async function addPerson(pool: Pool, person: NewPerson, addedBy: string): Promise<string> {
  const token = newToken();
  const { publicKey, ...principal } = person;
  const now = new Date();
  await inTransaction(pool, async (tx) => {
    await putPrincipal(tx, principal, hashToken(token));
    if (publicKey !== undefined) await enrolKey(tx, { principal: person.id, publicKey, addedBy, now });
  });
  return token;
}

type Enrolment = {
  readonly principal: string;
  readonly publicKey: string;
  readonly addedBy: string;
  readonly now: Date;
};

async function enrolKey(tx: Tx, { principal, publicKey, addedBy, now }: Enrolment): Promise<void> {
  const { keyId, added } = await addReviewerKey(tx, { principal, publicKey, addedBy, now });
  if (!added) return;
  const facts = { principal, keyId, publicKey, addedBy };
  const dedupKey = `key/${keyId}/added`;
  await appendToOutbox(tx, [{ log: peopleLog, kind: "approver.key.added", dedupKey, at: now.toISOString(), facts }]);
}

export function userName(): string {
  const name = userInfo()
    .username.toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, "-");
  return /^[a-z0-9]/.test(name) ? name : "user";
}

export function privateKeyIn(path: string): string {
  if (!existsSync(path)) {
    const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
    writeFileSync(path, pem, { mode: 0o600, flag: "wx" });
  }
  return readFileSync(path, "utf8");
}
