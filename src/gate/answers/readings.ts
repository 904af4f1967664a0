import { unescaped } from "../../core/escapes.ts";
import type { Json } from "../../core/json.ts";
import { flowRules } from "../../core/labels.ts";
import type { FlowRules } from "../../core/labels.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { textsIn } from "../flow/leaves.ts";

/** A text may be JSON, or have parts in which letters are written as escapes: who parses it reads something else than it looks like. */
export function readingsOf(text: string, rules: FlowRules): readonly string[] {
  const read = rules < 4 ? text : unescaped(text);
  const readings = read === text ? [text] : [text, read];
  try {
    return [...readings, ...textsIn(JSON.parse(text) as Json)];
  } catch {
    return readings;
  }
}

/** The answer's text for detectors: as it stands, and as those read it who know escapes and JSON. */
export function answerText({ content }: Pick<ModelResult, "content">): string {
  return readingsOf(content, flowRules).join("\n");
}
