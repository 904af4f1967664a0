import type { ResponseFacts } from "../core/decision.ts";
import type { JsonObject } from "../core/json.ts";
import type { DataClass } from "../core/labels.ts";
import type { ReleaseDocument } from "../core/release.ts";
import type { ModelResult } from "../core/transcript.ts";
import { dataClassesIn, withoutDataClasses } from "../policy/index.ts";
import type { RedactedAnswer } from "../policy/index.ts";
import { withProblem } from "./answer-fit.ts";
import { readingsOf } from "./readings.ts";

/** Taking values out of a text may leave others to be found in it as JSON, and the other way round. */
const maxRounds = 3;
/** A marker may be longer than what it stands for; an answer that was small enough to be kept has to stay so. */
const roomBytes = 1024 * 1024;

/**
 * The answer without what is found of the classes in its text, as it stands and as JSON; itself where nothing is. A function of the record.
 * Where it no longer fits the output schema, it says so as one that never did. Undefined where something would still be found in it.
 */
export function redactedAnswer(
  { output }: Pick<ReleaseDocument, "output">,
  answer: ModelResult,
  classes: readonly DataClass[],
): ModelResult | undefined {
  const content = redactedText(answer.content, classes);
  if (content === undefined || content === answer.content) return content === undefined ? undefined : answer;
  const { problem: _, ...rest } = answer;
  return withProblem({ ...rest, content }, output);
}

/**
 * The same for policies, of who has no more of the run than the answer: what else they would see of it (its links) is as it was before.
 * Where they have all, `redactionOf` says it.
 */
export function redactionByText(
  document: Pick<ReleaseDocument, "output">,
  response: ResponseFacts,
  answer: ModelResult,
): (classes: readonly DataClass[]) => RedactedAnswer | undefined {
  return (classes) => {
    const made = redactedAnswer(document, answer, classes);
    if (made === undefined || made === answer) return made && {};
    const final = response.calls === 0 && made.problem === undefined;
    return { answer: made as unknown as JsonObject, response: { ...response, final, characters: made.content.length } };
  };
}

function redactedText(text: string, classes: readonly DataClass[]): string | undefined {
  let made = text;
  for (let round = 0; round < maxRounds; round += 1) {
    const found = dataClassesIn(readingsOf(made).join("\n"));
    if (!found.some((name) => classes.includes(name))) return isSmall(made, text) ? made : undefined;
    const within = isJson(made) ? withinTokens(made, classes) : made;
    const next = within === undefined ? undefined : withoutDataClasses(within, classes);
    if (next === undefined || next === made) return undefined;
    made = next;
  }
  return undefined;
}

const tokens = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Each text and number of a JSON text by itself, so that it stays JSON, in the form that it has. */
function withinTokens(json: string, classes: readonly DataClass[]): string | undefined {
  let isWhole = true;
  const made = json.replaceAll(tokens, (token) => {
    const value = JSON.parse(token) as string | number;
    const text = String(value);
    const without = withoutDataClasses(text, classes);
    if (without === undefined) isWhole = false;
    return without === undefined || without === text ? token : JSON.stringify(without);
  });
  return isWhole ? made : undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isSmall(made: string, text: string): boolean {
  return made.length <= roomBytes / 4 || Buffer.byteLength(made) <= Buffer.byteLength(text);
}
