declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** SHA-256 as 64 lower-case hexadecimal digits. */
export type Digest = Branded<"Digest">;
/** `run_` and a ULID. It is also the Temporal workflow id, across continue-as-new. */
export type RunId = Branded<"RunId">;
/** `apr_` and a ULID. */
export type ApprovalId = Branded<"ApprovalId">;

/** `sgr_` and a ULID. */
export type GrantId = Branded<"GrantId">;

const ulid = "[0-9A-HJKMNP-TV-Z]{26}";

export const digestPattern = /^[0-9a-f]{64}$/;
export const runIdPattern = new RegExp(`^run_${ulid}$`);
export const approvalIdPattern = new RegExp(`^apr_${ulid}$`);
export const grantIdPattern = new RegExp(`^sgr_${ulid}$`);
/** Names of teams and agents: they appear in Cedar ids, ledger origins and URLs. */
export const namePattern = /^[a-z][a-z0-9-]{0,62}$/;
/** Names of tools, as OpenAI's `function.name` allows them. */
export const toolNamePattern = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/;
