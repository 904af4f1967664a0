import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Message } from "../../core/transcript.ts";
import { canonicalText, sha256 } from "../../store/canonical.ts";
import type { Flow } from "../flow/flow.ts";

/** The messages before a step, and the head of their hash chain: what a model action is bound to, at constant size. */
export type Conversation = {
  readonly messages: readonly Message[];
  readonly head: Digest;
  /** Whose words they are. */
  readonly flow: Flow;
};

/** `head₀` is the hash of nothing; `headₙ₊₁ = SHA-256(headₙ ‖ JCS(messageₙ))`. */
export function extendHead(head: Digest, messages: readonly Message[]): Digest {
  return messages.reduce((before, message) => sha256(`${before}${canonicalText(message as unknown as Json)}`), head);
}

export const emptyHead = sha256("");
