import type { FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import type { Role } from "../api/index.ts";
import { rolesFor, teamsWith } from "../registry/index.ts";
import type { Principal } from "../registry/index.ts";

/** Whose a request is, as roles are held for teams. */
export type Scope =
  /** It concerns no team: the caller's own, or people's. The handler is told of roles for all teams only. */
  | "no team"
  /** It concerns all teams. */
  | "all teams"
  /** A list: the handler leaves out what is of other teams than the caller's. */
  | "a list"
  | { readonly team: string }
  /** It concerns what these teams share: a role for one of them does. */
  | { readonly oneOf: readonly string[] };

/** Who calls, with the roles that they have for what the request is about. */
export type Caller = Omit<Principal, "roleTeams"> & {
  /** Whose rows a list may have; undefined: every team's. */
  readonly teams: readonly string[] | undefined;
  /** The roles that they have for a team: of a list, each row is of one. */
  readonly rolesIn: (team: string) => readonly Role[];
};

type Access = readonly Exclude<Role, "admin">[];

/** Whether somebody has one of the roles, or `admin`, for any team. */
export function hasRole({ roles }: Pick<Principal, "roles">, access: Access): boolean {
  return roles.some((role) => opens(role, access));
}

/** The caller for what a request is about. Throws `forbidden` where none of the route's roles is held for that. */
export function callerFor(principal: Principal, access: Access, scope: Scope): Caller {
  const { roleTeams = {}, ...rest } = principal;
  const within = (team?: string): readonly Role[] => rolesFor(principal, team);
  const given = (roles: readonly Role[]): Caller => {
    if (hasRole({ roles }, access)) return { ...rest, rolesIn: within, roles, teams: undefined };
    throw new ApiError("forbidden", `\`${principal.id}\` has no such role for this team`, {
      hint: "roles may be limited to teams: `countersign doctor` says which yours are; an admin gives others",
    });
  };
  if (scope === "no team") return { ...rest, rolesIn: within, roles: within(), teams: undefined };
  if (scope === "all teams") return given(within());
  if (scope === "a list") {
    const roles = within();
    if (hasRole({ roles }, access)) return { ...rest, rolesIn: within, roles, teams: undefined };
    const opening = principal.roles.filter((role) => opens(role, access));
    return {
      ...rest,
      rolesIn: within,
      roles,
      teams: [...new Set(opening.flatMap((role) => teamsWith(roleTeams, role)))],
    };
  }
  if ("team" in scope) return given(within(scope.team));
  const fitting = scope.oneOf.map((team) => within(team)).find((roles) => hasRole({ roles }, access));
  return given(fitting ?? within());
}

function opens(role: Role, access: Access): boolean {
  return role === "admin" || (access as readonly Role[]).includes(role);
}

/** What a request is about. Throws what the handler would where there is no such thing, or leaves it to say so. */
export type ScopeOf = (request: FastifyRequest) => Scope | Promise<Scope>;
