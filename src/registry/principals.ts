import { randomBytes } from "node:crypto";

import { sha256 } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { RegistryError } from "./errors.ts";

export const roles = ["operator", "reviewer", "auditor", "admin"] as const;
export type Role = (typeof roles)[number];

/** A person or service that may call the API. `groups` say what they may approve. */
export type Principal = {
  readonly id: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** The person behind it, where they have more than one account. Absent: the account is a person of its own. */
  readonly person?: string;
};

const idPattern = /^[a-z0-9][a-z0-9._@-]{0,99}$/;

/** Adds a principal, or brings one up to date. Its token and person stay as they are where they are not given. */
export async function putPrincipal(tx: Tx, principal: Principal, tokenSha256?: string): Promise<void> {
  if (!idPattern.test(principal.id))
    throw new RegistryError("principal_invalid", "principal id must be lower-case letters, digits and . _ @ -");
  if (principal.person !== undefined && !idPattern.test(principal.person))
    throw new RegistryError("principal_invalid", "person must be lower-case letters, digits and . _ @ -");
  await tx.query(
    `insert into principal (id, display_name, roles, groups, token_sha256, person) values ($1, $2, $3, $4, $5, $6)
     on conflict (id) do update set display_name = excluded.display_name, roles = excluded.roles, groups = excluded.groups,
       token_sha256 = coalesce(excluded.token_sha256, principal.token_sha256), person = coalesce(excluded.person, principal.person)`,
    [
      principal.id,
      principal.displayName,
      principal.roles,
      principal.groups,
      tokenSha256 ?? null,
      principal.person ?? null,
    ],
  );
}

export async function principalExists(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query("select from principal where id = $1", [id]);
  return rowCount === 1;
}

/** Whose token has this SHA-256. Looking up the hash takes the same time whatever part of a guess is right. */
export async function principalByToken(tx: Tx, tokenSha256: string): Promise<Principal | undefined> {
  const { rows } = await tx.query<Principal>(
    `select id, display_name as "displayName", roles, groups from principal where token_sha256 = $1`,
    [tokenSha256],
  );
  return rows[0];
}

/** A new API token: 256 random bits. Only its hash is ever stored. */
export function newToken(): string {
  return `cs_${randomBytes(32).toString("base64url")}`;
}

export function hashToken(token: string): string {
  return sha256(token);
}
