import { assertGoverned } from "../src/gate/index.ts";
import type { EffectOutcome, GovernedToolCall } from "../src/gate/index.ts";

export type CallAnswerer = (call: GovernedToolCall) => Promise<EffectOutcome>;

/** Tool calls and retrievals that are answered, and never made: of a fork. The gate decides on them as on any other. */
export function answeredActivities(answer: CallAnswerer): Readonly<Record<"tool" | "retrieval", CallAnswerer>> {
  const activity = (kind: "tool" | "retrieval"): CallAnswerer => {
    return async (call) => {
      assertGoverned(call, kind);
      return answer(call);
    };
  };
  return { tool: activity("tool"), retrieval: activity("retrieval") };
}
