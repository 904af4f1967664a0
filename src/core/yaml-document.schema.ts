import { isAlias, isCollection, isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import type { z } from "zod";

import { didYouMean } from "./did-you-mean.ts";

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
const defaultLength = 256 * 1024;
/** Aliases make small files unfold into huge ones. */
const maxAliasCount = 100;

/**
 * YAML (1.2, so JSON too) that a person wrote, checked against `schema`: all problems at once, each with the line and column it is
 * at. Duplicate keys are problems.
 */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
  maxCharacters = defaultLength,
): ParsedYaml<z.output<Schema>> {
  if (text.length > maxCharacters)
    return failed([{ line: 1, column: 1, path: "", message: `the file is longer than ${maxCharacters} characters` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problemAt = (offset: number, path: string, message: string): YamlProblem => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col, path, message };
  };
  // What comes after something that is no YAML is mostly told because of it.
  const duplicates = document.errors.filter(({ code }) => code === "DUPLICATE_KEY");
  const errors = duplicates.length === document.errors.length ? duplicates : document.errors.slice(0, 1);
  if (errors.length > 0) return failed(errors.map((error) => problemAt(error.pos[0], "", firstLine(error.message))));
  if (document.contents === null) return failed([problemAt(0, "", "the file is empty")]);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount });
  } catch (error) {
    return failed([problemAt(0, "", error instanceof Error ? firstLine(error.message) : "cannot be read")]);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  return failed(
    parsed.error.issues
      .flatMap((issue) => problemsOf(issue, schema, document, problemAt))
      .toSorted((a, b) => a.line - b.line || a.column - b.column),
  );
}

function problemsOf(
  issue: z.core.$ZodIssue,
  schema: z.core.$ZodType,
  document: Document.Parsed,
  problemAt: (offset: number, path: string, message: string) => YamlProblem,
): readonly YamlProblem[] {
  // An unknown key is reported at the key itself, not at the mapping around it.
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const meant = didYouMean(key, fieldsAt(schema, issue.path));
      const message = `is not a field here${meant === undefined ? "" : `; did you mean \`${meant}\`?`}`;
      return problemAt(keyOffsetOf(document, issue.path, key), pathText(path), message);
    });
  }
  // Of several kinds, the one that it is of is the one whose problems help.
  if (issue.code === "invalid_union") {
    const [kind, ...others] = issue.errors.filter((problems) => !problems.some(isOfAnotherKind));
    if (kind !== undefined && others.length === 0)
      return kind.flatMap((inner) =>
        problemsOf({ ...inner, path: [...issue.path, ...inner.path] }, schema, document, problemAt),
      );
  }
  const unset = /^Invalid input: expected (.+), received undefined$/.exec(issue.message);
  const message = unset === null ? lowerFirst(issue.message) : `is missing: expected ${unset[1] ?? "a value"}`;
  return [problemAt(offsetOf(document, issue.path), pathText(issue.path), message)];
}

function isOfAnotherKind({ code, path }: z.core.$ZodIssue): boolean {
  return path.length === 0 && (code === "invalid_type" || code === "invalid_value" || code === "invalid_union");
}

/** The fields that may stand at a path; of a union, those of all its kinds. */
function fieldsAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): readonly string[] {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const [step, ...rest] = path;
  if (def.type === "union") return def.options.flatMap((option) => fieldsAt(option, path));
  if (def.type === "pipe") return fieldsAt(def.in, path);
  if (def.type === "optional" || def.type === "nullable" || def.type === "default")
    return fieldsAt(def.innerType, path);
  if (step === undefined) return def.type === "object" ? Object.keys(def.shape) : [];
  if (def.type === "array") return fieldsAt(def.element, rest);
  if (def.type === "record") return fieldsAt(def.valueType, rest);
  const inner = def.type === "object" ? def.shape[String(step)] : undefined;
  return inner === undefined ? [] : fieldsAt(inner, rest);
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
