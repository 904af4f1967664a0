import type { Json } from "../../core/json.ts";
import { canonicalBytes } from "../../store/canonical.ts";
import { hexOf, leafHash } from "./hash.ts";
import { CompactRange } from "./tree.ts";

/**
 * What a sealed history is known by: the RFC 6962 root over the RFC 8785 bytes of each of its events, in hexadecimal. JSON, since protobuf has
 * no canonical bytes.
 */
export function historyRoot(events: readonly Json[]): string {
  const range = CompactRange.empty();
  for (const event of events) range.append(leafHash(canonicalBytes(event)));
  return hexOf(range.root());
}
