import type { DetectedPlace, ResponseFacts } from "../../core/decision.ts";
import type { JsonObject } from "../../core/json.ts";
import type { DataClass } from "../../core/labels.ts";
import type { ReleaseDocument } from "../../core/release.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { dataClassesIn, ownDataClasses, redacted, withoutDataClasses } from "../../policy/index.ts";
import type { RedactionOf } from "../../policy/index.ts";
import { withProblem } from "./fit.ts";
import { answerText } from "./readings.ts";

/** Taking values out of a text may leave others to be found in it as JSON, and the other way round. */
const maxRounds = 3;
/** A marker may be longer than what it stands for; an answer that was small enough to be kept has to stay so. */
const roomBytes = 1024 * 1024;

/** What is taken out of a text: what our detectors find of the classes, and the very texts that another has found. */
type Unwanted = { readonly classes: readonly DataClass[]; readonly texts: readonly string[] };

/**
 * The answer without what is found of the classes in its text, as it stands and as JSON; itself where nothing is. A function of the record:
 * `places` is what another detector said of it. Where it no longer fits the output schema, it says so as one that never did. Undefined where
 * something would still be found in it.
 */
export function redactedAnswer(
  { output }: Pick<ReleaseDocument, "output">,
  answer: ModelResult,
  classes: readonly DataClass[],
  places: readonly DetectedPlace[] = [],
): ModelResult | undefined {
  const read = answerText(answer);
  const texts = places.flatMap(({ name, start, end }) => (classes.includes(name) ? [read.slice(start, end)] : []));
  const content = redactedText(answer.content, {
    classes: classes.filter((name) => ownDataClasses.includes(name)),
    // One may be a part of another.
    texts: [...new Set(texts)].toSorted((a, b) => b.length - a.length),
  });
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
): RedactionOf {
  return (classes, places) => {
    const made = redactedAnswer(document, answer, classes, places);
    if (made === undefined || made === answer) return made && {};
    const final = response.calls === 0 && made.problem === undefined;
    return { answer: made as unknown as JsonObject, response: { ...response, final, characters: made.content.length } };
  };
}

function redactedText(text: string, unwanted: Unwanted): string | undefined {
  let made = text;
  for (let round = 0; round < maxRounds; round += 1) {
    if (!isIn(unwanted, answerText({ content: made }))) return isSmall(made, text) ? made : undefined;
    const within = isJson(made) ? withinTokens(made, unwanted) : made;
    const next = within === undefined ? undefined : without(within, unwanted);
    if (next === undefined || next === made) return undefined;
    made = next;
  }
  return undefined;
}

function isIn({ classes, texts }: Unwanted, text: string): boolean {
  return texts.some((one) => text.includes(one)) || dataClassesIn(text).some((name) => classes.includes(name));
}

function without(text: string, { classes, texts }: Unwanted): string | undefined {
  const rest = withoutDataClasses(text, classes);
  return rest === undefined ? undefined : texts.reduce((made, one) => made.replaceAll(one, () => redacted), rest);
}

const tokens = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Each text and number of a JSON text by itself, so that it stays JSON, in the form that it has. */
function withinTokens(json: string, unwanted: Unwanted): string | undefined {
  let isWhole = true;
  const made = json.replaceAll(tokens, (token) => {
    const text = String(JSON.parse(token) as string | number);
    const rest = without(text, unwanted);
    if (rest === undefined) isWhole = false;
    return rest === undefined || rest === text ? token : JSON.stringify(rest);
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
