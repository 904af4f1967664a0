import { assertGoverned } from "../src/gate/index.ts";
import type { EffectOutcome, GovernedToolCall } from "../src/gate/index.ts";
import { dataClassesIn } from "../src/policy/index.ts";
import { retrieved, ToolResultError } from "../src/tools/index.ts";
import { performCall, result, toldToModel } from "./tool.ts";

/** Asks a source for documents, and gives each its labels: what the release says of the source bounds what comes of it. */
export function retrievalActivity(toolRoots: readonly string[]): (call: GovernedToolCall) => Promise<EffectOutcome> {
  return async (call) => {
    assertGoverned(call, "retrieval");
    const outcome = await performCall(call, toolRoots);
    if (outcome.status !== "result" || outcome.kind === "model" || outcome.result.status !== "ok") return outcome;
    const { source } = call.tool;
    if (source === undefined) throw new TypeError("a retrieval without a source was allowed");
    try {
      const found = retrieved(source, Number(call.args["limit"]), outcome.result.value, dataClassesIn);
      return result(call, found as never);
    } catch (error) {
      if (error instanceof ToolResultError) return toldToModel(call, error.message);
      throw error;
    }
  };
}
