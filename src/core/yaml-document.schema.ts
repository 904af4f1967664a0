import { isAlias, isCollection, isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import type { z } from "zod";

export type YamlProblem = {
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
};
export type ParsedYaml<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problems: readonly YamlProblem[] };

/** Longer documents are refused before they are parsed, in characters. */
const maxCharacters = 256 * 1024;
/** Aliases make small files unfold into huge ones. */
const maxAliasCount = 50;

/**
 * YAML (1.2, so JSON too) that a person wrote, checked against `schema`: all problems at once, each with the line and column it is
 * at. Duplicate keys are problems.
 */
export function parseYaml<Schema extends z.ZodType>(text: string, schema: Schema): ParsedYaml<z.output<Schema>> {
  if (text.length > maxCharacters)
    return failed([{ line: 1, column: 1, path: "", message: `the file is longer than ${maxCharacters} characters` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problemAt = (offset: number, path: string, message: string): YamlProblem => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col, path, message };
  };
  if (document.errors.length > 0)
    return failed(document.errors.map((error) => problemAt(error.pos[0], "", firstLine(error.message))));
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount });
  } catch (error) {
    return failed([problemAt(0, "", error instanceof Error ? firstLine(error.message) : "cannot be read")]);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  return failed(parsed.error.issues.flatMap((issue) => problemsOf(issue, document, problemAt)));
}

function problemsOf(
  issue: z.core.$ZodIssue,
  document: Document.Parsed,
  problemAt: (offset: number, path: string, message: string) => YamlProblem,
): readonly YamlProblem[] {
  // An unknown key is reported at the key itself, not at the mapping around it.
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return problemAt(keyOffsetOf(document, issue.path, key), pathText(path), "is not a field here");
    });
  }
  return [problemAt(offsetOf(document, issue.path), pathText(issue.path), lowerFirst(issue.message))];
}

/** Of the key itself, where the mapping at `path` has it. */
function keyOffsetOf(document: Document.Parsed, path: readonly PropertyKey[], key: string): number {
  const found: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  const mapping = isAlias(found) ? found.resolve(document) : found;
  const pairs = isMap(mapping) ? mapping.items : [];
  const node = pairs.map((pair) => pair.key).find((name) => isScalar(name) && String(name.value) === key);
  return isNode(node) && node.range ? node.range[0] : offsetOf(document, path);
}

/** Of the innermost part of the path that is in the file: a missing field is reported at what misses it. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return isCollection(document.contents) ? (document.contents.range?.[0] ?? 0) : 0;
}

function failed(problems: readonly YamlProblem[]): { readonly ok: false; readonly problems: readonly YamlProblem[] } {
  return { ok: false, problems };
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map(String).join(".");
}

function firstLine(text: string): string {
  const [line = ""] = text.split("\n");
  // The parser quotes what it stumbles over, however much that is.
  return lowerFirst(line.length > 200 ? `${line.slice(0, 199)}…` : line);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
