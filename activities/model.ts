import { codeOf } from "../src/core/errors.ts";
import type { Json } from "../src/core/json.ts";
import { noUsage } from "../src/core/money.ts";
import type { TokenUsage } from "../src/core/money.ts";
import { callablesOf } from "../src/core/retrieval.ts";
import type { ModelResult } from "../src/core/transcript.ts";
import { assertGoverned, problemBytes, withProblem } from "../src/gate/index.ts";
import type { EffectOutcome, GovernedModelCall } from "../src/gate/index.ts";
import { ProviderError } from "../src/providers/index.ts";
import type { ModelProvider } from "../src/providers/index.ts";
import { canonicalText, maxPayloadBytes } from "../src/store/index.ts";

/** Of a call. All attempts of a step have to be summed in one of Postgres' integers. */
const maxTokens = 2 ** 28;
const maxCallIdCharacters = 256;
/** Of one answer: each is an activity, and Temporal refuses a workflow that asks for thousands at once, again and again. */
const maxToolCalls = 500;

type Publish = (call: GovernedModelCall, text: string) => void;

/** Asks the model that the release pins, and checks a final answer against the release's output schema. */
export function modelActivity(
  provider: ModelProvider,
  publish: Publish,
): (call: GovernedModelCall) => Promise<EffectOutcome> {
  return async (call) => {
    assertGoverned(call, "model");
    const { model, output } = call.run.release.document;
    const tools = callablesOf(call.run.release.document);
    if (call.signal.aborted) return { ...cancelled, usage: noUsage };
    try {
      const { usage, ...answer } = await provider.complete(
        {
          model: model.name,
          messages: call.messages,
          tools,
          maxOutputTokens: call.maxOutputTokens,
          ...(model.temperature === undefined ? {} : { temperature: model.temperature }),
          ...(output === undefined ? {} : { output }),
        },
        {
          signal: call.signal,
          ...(call.watched
            ? {
                onDelta: (delta) => {
                  if (delta.kind === "text") publish(call, delta.text);
                },
              }
            : {}),
        },
      );
      return (
        unkeepable(answer, usage) ?? { status: "result", kind: "model", result: withProblem(answer, output), usage }
      );
    } catch (error) {
      return failureOf(error, call.signal);
    }
  };
}

/**
 * What a model may say and the record cannot hold. The call was made and is paid for: an answer that cannot be written down must end
 * the step, not repeat it.
 */
function unkeepable(answer: ModelResult, usage: TokenUsage): EffectOutcome | undefined {
  const failure = { status: "failed", code: "malformed_response" } as const;
  const failed = (message: string): EffectOutcome => ({ ...failure, message, usage });
  // What was counted so is not known.
  if (countable(usage) === undefined) return { ...failure, message: "model server counted impossible tokens" };
  if (answer.toolCalls.length > maxToolCalls)
    return failed(`the model asked for ${answer.toolCalls.length} calls at once, and ${maxToolCalls} is the most`);
  if (answer.toolCalls.some((call) => call.id.length > maxCallIdCharacters || call.id.includes("\0")))
    return failed("model server named a tool call in a way that cannot be kept");
  try {
    const bytes = Buffer.byteLength(canonicalText(answer as unknown as Json));
    return bytes < maxPayloadBytes - problemBytes ? undefined : failed(`answer of ${bytes} bytes is too large to keep`);
  } catch (error) {
    if (codeOf(error) !== "not_canonical") throw error;
    return failed("model server's answer is not well-formed text");
  }
}

/** What it took until then, nobody knows. */
const cancelled = { status: "failed", code: "cancelled", message: "the model call was cancelled" } as const;

function failureOf(error: unknown, signal: AbortSignal): EffectOutcome {
  if (signal.aborted) return cancelled;
  if (!(error instanceof ProviderError)) throw error;
  const { code } = error;
  const usage = countable(error.usage);
  // Who reads why a run failed reads this, and wants to know what to do.
  const message = error.hint === undefined ? error.message : `${error.message}: ${error.hint}`;
  if (!error.retryable) return { status: "failed", code, message, usage };
  return {
    status: "retry",
    code,
    message,
    usage,
    ...(error.retryAfterMs === undefined ? {} : { afterMs: error.retryAfterMs }),
  };
}

function countable(usage: TokenUsage | undefined): TokenUsage | undefined {
  return usage === undefined || Object.values(usage).some((tokens) => tokens > maxTokens) ? undefined : usage;
}
