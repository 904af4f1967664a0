import { randomBytes } from "node:crypto";

import type { Role } from "../core/roles.ts";
import { sha256 } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { RegistryError } from "./errors.ts";

export type { Role };
export type RoleTeams = { readonly [role in Role]?: readonly string[] };

/** A person or service that may call the API. `groups` say what they may approve. */
export type Principal = {
  readonly id: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** For which teams a role is held; one that is not named here, for all. */
  readonly roleTeams?: RoleTeams;
  /** The person behind it, where they have more than one account. Absent: the account is a person of its own. */
  readonly person?: string;
};

const idPattern = /^[a-z0-9][a-z0-9._@-]{0,99}$/;

/** The roles that somebody holds for a team; without one, those that they hold for all. The database's `roles_for`. */
export function rolesFor({ roles: held, roleTeams = {} }: Principal, team?: string): readonly Role[] {
  return held.filter((role) => {
    if (!Object.hasOwn(roleTeams, role)) return true;
    return team !== undefined && teamsWith(roleTeams, role).includes(team);
  });
}

/** For which teams a limited role is held. What is no list of teams is none: rows can be written past this code. */
export function teamsWith(roleTeams: RoleTeams, role: Role): readonly string[] {
  const teams: unknown = roleTeams[role];
  return Array.isArray(teams) ? teams.filter((team) => typeof team === "string") : [];
}

/** Adds a principal, or brings one up to date. Its token and person stay as they are where they are not given. */
export async function putPrincipal(tx: Tx, principal: Principal, tokenSha256?: string): Promise<void> {
  if (!idPattern.test(principal.id))
    throw new RegistryError("principal_invalid", "principal id must be lower-case letters, digits and . _ @ -");
  if (principal.person !== undefined && !idPattern.test(principal.person))
    throw new RegistryError("principal_invalid", "person must be lower-case letters, digits and . _ @ -");
  await tx.query(
    `insert into principal (id, display_name, roles, groups, token_sha256, person, role_teams) values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (id) do update set display_name = excluded.display_name, roles = excluded.roles, groups = excluded.groups,
       role_teams = excluded.role_teams,
       token_sha256 = coalesce(excluded.token_sha256, principal.token_sha256), person = coalesce(excluded.person, principal.person)`,
    [
      principal.id,
      principal.displayName,
      principal.roles,
      principal.groups,
      tokenSha256 ?? null,
      principal.person ?? null,
      principal.roleTeams ?? {},
    ],
  );
}

/** Everybody, by id; those who were removed have no roles. */
export async function listPrincipals(tx: Tx): Promise<readonly Principal[]> {
  const { rows } = await tx.query<Omit<Principal, "person"> & { person: string | null }>(
    `select id, display_name as "displayName", roles, groups, role_teams as "roleTeams", person from principal order by id`,
  );
  return rows.map(({ person, ...rest }) => (person === null ? rest : { ...rest, person }));
}

/** Takes token, roles and groups from somebody, from the next request on. The row stays: records name them. False where nobody has the id. */
export async function removePrincipal(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update principal set token_sha256 = null, roles = '{}', role_teams = '{}', groups = '{}' where id = $1",
    [id],
  );
  return rowCount === 1;
}

/** How many people are in a group. */
export async function countMembers(tx: Tx, group: string): Promise<number> {
  const { rows } = await tx.query<{ members: number }>(
    "select count(*)::int as members from principal where $1 = any(groups)",
    [group],
  );
  return rows[0]?.members ?? 0;
}

export async function principalExists(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query("select from principal where id = $1", [id]);
  return rowCount === 1;
}

/** Whose token has this SHA-256. Looking up the hash takes the same time whatever part of a guess is right. */
export async function principalByToken(tx: Tx, tokenSha256: string): Promise<Principal | undefined> {
  const { rows } = await tx.query<Principal>(
    `select id, display_name as "displayName", roles, groups, role_teams as "roleTeams" from principal where token_sha256 = $1`,
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
