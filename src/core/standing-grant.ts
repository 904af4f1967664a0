import type { ApprovalId, Digest } from "./ids.ts";
import type { Json, JsonObject } from "./json.ts";

/**
 * What an argument has to be. `equals`: exactly this. `domain`: an address at exactly this domain, or a list of such. `prefix`: a text that
 * begins so, which says nothing of how it goes on: end it with a separator.
 */
export type Target =
  | { readonly equals: string | number | boolean }
  | { readonly domain: string }
  | { readonly prefix: string };

/** An approval given in advance, as it is proposed, approved and used: canonical JSON, named by its digest. */
export type StandingGrant = {
  readonly v: 1;
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  /** Digest of the tool's definition: another version of it is another tool. */
  readonly toolDigest: Digest;
  /** The approvals that it stands for. `text` is the SHA-256 of the policy that asked: a changed policy has to be granted anew. */
  readonly requirements: readonly {
    readonly policy: string;
    readonly text: Digest;
    readonly group: string;
    readonly quorum: number;
  }[];
  /** By argument. Every argument that is not named may be anything. */
  readonly where: Readonly<Record<string, Target>>;
  readonly maxUses: number;
  /** The most that an integer argument may sum up to over all uses. */
  readonly sum?: { readonly argument: string; readonly max: number };
  readonly expiresAt: string;
  /** The request that it was proposed from, whose approvers decide on it. */
  readonly request: ApprovalId;
  readonly proposedBy: string;
};

/** What a call takes of a grant's sum, or undefined where the grant is not for it. */
export function amountCovered(grant: StandingGrant, args: JsonObject): number | undefined {
  const targets = Object.entries(grant.where);
  if (targets.length === 0 || !targets.every(([name, target]) => isTarget(own(args, name), target))) return undefined;
  if (grant.sum === undefined) return 0;
  const amount = own(args, grant.sum.argument);
  return typeof amount === "number" && Number.isSafeInteger(amount) && amount >= 0 ? amount : undefined;
}

function own(args: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(args, name) ? args[name] : undefined;
}

function isTarget(value: Json | undefined, target: Target): boolean {
  if ("equals" in target) return value === target.equals;
  if ("prefix" in target) return typeof value === "string" && value.startsWith(target.prefix);
  if (typeof value === "string") return isAt(value, target.domain);
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((one) => typeof one === "string" && isAt(one, target.domain))
  );
}

/** Plain ASCII, one `@`, and nothing that a mailer could take for a second address or for a name. */
function isAt(address: string, domain: string): boolean {
  return /^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}$/.test(address) && address.toLowerCase().endsWith(`@${domain}`);
}
