/** Whose rows a list has: a team's, or these teams'. Undefined: all of them. */
export type TeamFilter = string | readonly string[] | undefined;

/** As a parameter of SQL: null for all. */
export function teamList(team: TeamFilter): readonly string[] | null {
  if (team === undefined) return null;
  return typeof team === "string" ? [team] : team;
}
