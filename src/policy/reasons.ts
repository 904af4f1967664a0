import type { PolicyReason } from "../core/decision.ts";
import { readPolicy } from "./policy.ts";
import type { PolicySetDocument } from "./policy-set.ts";

/** What the authors of policies said about them, in the order of `ids`. A policy that is not in the set, or cannot be read, has no text. */
export function reasonsOf({ policies }: PolicySetDocument, ids: readonly string[]): readonly PolicyReason[] {
  return ids.map((policy) => {
    const text = policies.find(({ id }) => id === policy)?.text;
    const read = text === undefined ? undefined : readPolicy(text);
    return { policy, text: read !== undefined && "policy" in read ? read.policy.reason : "" };
  });
}
