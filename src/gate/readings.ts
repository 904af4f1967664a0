import type { Json } from "../core/json.ts";
import { textsIn } from "./flow-leaves.ts";

/** A text may be JSON in which letters are written as escapes: who parses it reads something else than it looks like. */
export function readingsOf(text: string): readonly string[] {
  try {
    return [text, ...textsIn(JSON.parse(text) as Json)];
  } catch {
    return [text];
  }
}
