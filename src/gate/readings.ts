import type { Json } from "../core/json.ts";
import type { ModelResult } from "../core/transcript.ts";
import { textsIn } from "./flow-leaves.ts";

/** A text may be JSON in which letters are written as escapes: who parses it reads something else than it looks like. */
export function readingsOf(text: string): readonly string[] {
  try {
    return [text, ...textsIn(JSON.parse(text) as Json)];
  } catch {
    return [text];
  }
}

/** The answer's text for detectors: as it stands, and as JSON says it. */
export function answerText({ content }: Pick<ModelResult, "content">): string {
  return readingsOf(content).join("\n");
}
