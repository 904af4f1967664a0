import type { Json, JsonSchema } from "../../core/json.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { canonicalText, maxPayloadBytes } from "../../store/canonical.ts";
import { fits } from "../../tools/arguments.ts";

/** Room beside an answer, for what is said of it. */
export const problemBytes = 64 * 1024;

/** The answer, with what keeps it from fitting the output schema. Only a final one is checked: a turn that asks for tools is not. */
export function withProblem(answer: ModelResult, output: JsonSchema | undefined): ModelResult {
  if (answer.toolCalls.length > 0 || output === undefined) return answer;
  const problem = problemOf(answer, output);
  return problem === undefined ? answer : { ...answer, problem };
}

function problemOf(answer: ModelResult, output: JsonSchema): string | undefined {
  const advice = "Answer again, with JSON that fits the output schema and nothing else.";
  if (answer.finishReason === "length") return `The answer was cut off at the token limit. ${advice}`;
  let value: unknown;
  try {
    value = JSON.parse(answer.content);
  } catch {
    return `The answer is not JSON. ${advice}`;
  }
  // Numbers may be longer in the canonical form that is kept.
  if (keptBytes(value as Json) >= maxPayloadBytes - problemBytes) return `The answer is too long. ${advice}`;
  const parsed = fits(value as never, output);
  return parsed.ok ? undefined : `The answer does not fit the output schema: ${parsed.problem}. ${advice}`;
}

function keptBytes(value: Json): number {
  try {
    return Buffer.byteLength(canonicalText(value));
  } catch {
    // What cannot be hashed does not fit either, and is told so.
    return 0;
  }
}
