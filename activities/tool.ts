import { codeOf } from "../src/core/errors.ts";
import type { Json } from "../src/core/json.ts";
import type { IdempotencySupport } from "../src/core/release.ts";
import { assertGoverned } from "../src/gate/index.ts";
import type { EffectOutcome, GovernedToolCall } from "../src/gate/index.ts";
import { canonicalText, maxPayloadBytes } from "../src/store/index.ts";
import { resolveTool, ToolLoadError } from "../src/tools/index.ts";
import type { Tool, ToolContext } from "../src/tools/index.ts";

/** A tool's own words about a failure are told up to here. */
const maxMessageCharacters = 4_000;

/** Runs a tool. What its failure means depends on what the tool can promise: see `core/release.ts`. */
export function toolActivity(toolRoots: readonly string[]): (call: GovernedToolCall) => Promise<EffectOutcome> {
  return async (call) => {
    assertGoverned(call, "tool");
    return performCall(call, toolRoots);
  };
}

/** Calls what the release pins. Whatever a model may call goes through here; a retrieval's result is made of documents. */
export async function performCall(call: GovernedToolCall, toolRoots: readonly string[]): Promise<EffectOutcome> {
  let tool: Tool;
  try {
    tool = await resolveTool(call.tool, toolRoots);
  } catch (error) {
    if (!(error instanceof ToolLoadError)) throw error;
    const message = error.hint === undefined ? error.message : `${error.message}: ${error.hint}`;
    // That the code is not here says nothing of the attempt that began the call; another worker may have it.
    const begun = call.resumed && call.tool.effect !== "read";
    return { status: begun ? "retry" : "failed", code: error.code, message };
  }
  return perform(call, tool);
}

async function perform(call: GovernedToolCall, tool: Tool): Promise<EffectOutcome> {
  // Nothing has been begun, so nothing needs to be found out.
  if (call.signal.aborted && !call.resumed)
    return { status: "failed", code: "cancelled", message: "the call was cancelled" };
  const context: ToolContext = {
    run: call.run.id,
    subject: call.run.input.subject,
    tags: call.run.input.tags ?? {},
    idempotencyKey: call.idempotencyKey,
    signal: call.signal,
  };
  let found: Json | undefined;
  try {
    found = call.resumed ? await lookUp(call, tool, context) : undefined;
  } catch (error) {
    // Not even a ToolError says anything of the earlier attempt: only that it could not be asked about.
    return unclear(call, tool, error);
  }
  if (found !== undefined) return result(call, found);
  try {
    return result(call, await untilAborted(() => tool.execute(call.args, context), call.signal));
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof Error && (code === "result_unusable" || (code === "tool_failed" && saysAll(call))))
      return toldToModel(call, error.message);
    return unclear(call, tool, error);
  }
}

/**
 * Whether a refusal means that nothing has happened. Not where an earlier attempt may have: a function that takes the key would have
 * found its own effect, but a service that refuses now says nothing of what it did before.
 */
function saysAll({ resumed, tool }: GovernedToolCall): boolean {
  return !resumed || tool.effect === "read" || tool.implementation.kind === "function";
}

async function lookUp(call: GovernedToolCall, tool: Tool, context: ToolContext): Promise<Json | undefined> {
  if (tool.lookup !== undefined) return untilAborted(async () => tool.lookup?.(context), call.signal);
  if (call.tool.idempotency === "lookup") throw new TypeError("the tool has no lookup");
  return undefined;
}

export function toldToModel({ kind }: GovernedToolCall, message: string): EffectOutcome {
  const text = message.toWellFormed().slice(0, maxMessageCharacters).toWellFormed();
  return { status: "result", kind, result: { status: "error", message: text } };
}

/** A tool need not listen to its signal for its time to be up. */
async function untilAborted<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

export function result(call: GovernedToolCall, value: Json | undefined): EffectOutcome {
  let length: number;
  try {
    length = Buffer.byteLength(canonicalText(value ?? null));
  } catch {
    return toldToModel(call, "the tool did its work, but its result is not JSON");
  }
  if (length < maxPayloadBytes)
    return { status: "result", kind: call.kind, result: { status: "ok", value: value ?? null } };
  return toldToModel(call, `the tool did its work, but its result of ${length} bytes is too large to keep`);
}

/** The tool threw something else, or its time was up: it may have happened half-way. */
function unclear(call: GovernedToolCall, tool: Tool, error: unknown): EffectOutcome {
  const message = call.signal.aborted
    ? `the tool took longer than ${call.tool.timeoutMs} ms, or the run was cancelled`
    : reasonOf(error);
  const harmless = call.tool.effect === "read" || canRepeat(call.tool.idempotency, tool);
  return harmless
    ? { status: "retry", code: "tool_broken", message }
    : { status: "unknown", message: `whether \`${call.tool.name}\` took effect is not known: ${message}` };
}

/** A release may promise a lookup that its code does not have. */
function canRepeat(idempotency: IdempotencySupport, tool: Tool): boolean {
  return idempotency === "key" || (idempotency === "lookup" && tool.lookup !== undefined);
}

/** The error's kind, not its words: those may hold contents or secrets. */
function reasonOf(error: unknown): string {
  const name = error instanceof Error ? error.name : typeof error;
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  return `the tool threw ${name}${code}`;
}
