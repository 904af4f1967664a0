declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** SHA-256 as 64 lower-case hexadecimal digits. */
export type Digest = Branded<"Digest">;
/** `run_` and a ULID. It is also the Temporal workflow id, across continue-as-new. */
export type RunId = Branded<"RunId">;
/** `apr_` and a ULID. */
export type ApprovalId = Branded<"ApprovalId">;

const ulid = "[0-9A-HJKMNP-TV-Z]{26}";

export const digestPattern = /^[0-9a-f]{64}$/;
export const runIdPattern = new RegExp(`^run_${ulid}$`);
export const approvalIdPattern = new RegExp(`^apr_${ulid}$`);
/** Names of teams and agents: they appear in Cedar ids, ledger origins and URLs. */
export const namePattern = /^[a-z][a-z0-9-]{0,62}$/;
/** The ledger's log of what is about people, not about teams: reviewers' keys, and delegations. */
export const peopleLog = "people";

/** Why a name cannot be a team's, or undefined. Each team has a log of its name. */
export function teamNameProblem(team: string): string | undefined {
  return team === peopleLog
    ? `\`${peopleLog}\` is reserved for the log of keys and delegations: choose another name`
    : undefined;
}

/** Names of tools, as OpenAI's `function.name` allows them. */
export const toolNamePattern = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/;
