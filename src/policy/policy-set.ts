import { z } from "zod";

import type { HistoryFact } from "../core/decision.ts";
import { reader } from "./engine.ts";
import type { PolicyProblem } from "./errors.ts";
import { PolicyError } from "./errors.ts";
import { historyFacts } from "./history-facts.ts";
import { endOf, placeWithin } from "./places.ts";
import type { Place } from "./places.ts";
import { readPolicy, syntaxProblems } from "./policy.ts";

export const maxPolicies = 5_000;
export const maxPolicyLength = 65_536;
export const maxFileLength = 1_048_576;

const documentSchema = z.strictObject({
  v: z.literal(1),
  policies: z
    .array(z.strictObject({ id: z.string().max(128), text: z.string().max(maxPolicyLength) }))
    .max(maxPolicies),
  history: historyFacts.optional(),
}) as unknown as z.ZodType<PolicySetDocument>;

/** A team's policies as they are stored and named by digest. `text` is one Cedar policy, `id` is its `@id`. */
export type PolicySetDocument = {
  readonly v: 1;
  readonly policies: readonly { readonly id: string; readonly text: string }[];
  /** What is to be counted before each decision; absent: nothing. */
  readonly history?: readonly HistoryFact[];
};

/** Where each policy of a document was read from: its file, and where in it the policy begins. */
export type PolicySources = ReadonlyMap<string, PolicySource>;
export type PolicySource = Place & {
  readonly file: string;
  /** Its text is not in the file, as a rate's is not: places in the text are none there. */
  readonly isWritten?: true;
};

/** Checks the shape only, not the Cedar text. Throws PolicyError `policies_invalid`. */
export function parsePolicySet(value: unknown): PolicySetDocument {
  const parsed = documentSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue === undefined ? "" : `${issue.path.join(".")}: `;
  throw new PolicyError("policies_invalid", `not a policy set: ${place}${issue?.message ?? "unknown shape"}`);
}

/**
 * Cuts Cedar files into a document, its policies ordered by id so that moving them between files changes nothing, and so the history
 * facts by name. Problems carry file and line. Text above a policy's annotations is not kept.
 */
export function policySetOf(
  files: readonly { readonly name: string; readonly text: string }[],
  history: readonly HistoryFact[] = [],
): {
  readonly document: PolicySetDocument;
  readonly sources: PolicySources;
  readonly problems: readonly PolicyProblem[];
} {
  const problems: PolicyProblem[] = [];
  const sources = new Map<string, PolicySource>();
  const policies: { id: string; text: string }[] = [];
  for (const file of files) {
    for (const found of cutFile(file, problems)) {
      const read = readPolicy(found.text);
      if ("problems" in read) {
        problems.push(...read.problems.map((problem) => shift(problem, found)));
      } else if (sources.has(read.policy.id)) {
        const { text: _text, ...place } = found;
        const other = sources.get(read.policy.id);
        const message = `@id is already used at ${other?.file}:${other?.line}`;
        problems.push({ severity: "error", policy: read.policy.id, ...place, message });
      } else {
        const { text: _text, ...place } = found;
        sources.set(read.policy.id, place);
        policies.push({ id: read.policy.id, text: found.text });
      }
    }
  }
  if (policies.length > maxPolicies) {
    problems.push({ severity: "error", message: `expected at most ${maxPolicies} policies` });
  }
  policies.sort((a, b) => (a.id < b.id ? -1 : 1));
  const facts = history.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const document: PolicySetDocument = { v: 1, policies, ...(facts.length === 0 ? {} : { history: facts }) };
  return { document, sources, problems };
}

/** A problem in a policy's own text, put where its file has it. */
export function locate(problem: PolicyProblem, sources: PolicySources): PolicyProblem {
  const source = problem.policy === undefined ? undefined : sources.get(problem.policy);
  return source === undefined || problem.file !== undefined ? problem : shift(problem, source);
}

function shift(problem: PolicyProblem, { file, isWritten, ...start }: PolicySource): PolicyProblem {
  const { line = 1, column = 1 } = problem;
  return { ...problem, file, ...(isWritten === true ? start : placeWithin(start, { line, column })) };
}

type Piece = PolicySource & { readonly text: string };

function cutFile(file: { readonly name: string; readonly text: string }, problems: PolicyProblem[]): Piece[] {
  const refuse = (message: string, place?: Place): Piece[] => {
    problems.push({ severity: "error", file: file.name, ...place, message });
    return [];
  };
  if (file.text.length > maxFileLength) return refuse(`expected at most ${maxFileLength} characters`);
  if (!file.text.isWellFormed()) return refuse("expected Unicode text, got a lone surrogate");
  let answer;
  try {
    answer = reader.run((cedar) => cedar.policySetTextToParts(file.text));
  } catch {
    return refuse("cedar cannot read this file: it is nested too deeply");
  }
  if (answer.type === "failure") {
    problems.push(...syntaxProblems(file.text, answer.errors).map((problem) => ({ ...problem, file: file.name })));
    return [];
  }
  const [template] = answer.policy_templates;
  if (template !== undefined) {
    const place = endOf(file.text.slice(0, Math.max(0, file.text.indexOf(template))));
    return refuse("templates (?principal, ?resource) are not supported: write a policy for each", place);
  }
  if (answer.policies.length > maxPolicies) return refuse(`expected at most ${maxPolicies} policies`);
  const pieces = placed(file, inFileOrder(answer.policies));
  const huge = pieces.find(({ text }) => text.length > maxPolicyLength);
  return huge === undefined
    ? pieces
    : refuse(`expected at most ${maxPolicyLength} characters in a policy`, {
        line: huge.line,
        column: huge.column,
      });
}

/** Cedar numbers the parts `policy0`, `policy1`, … and returns them in the order of those texts: 0, 1, 10, 11, 2. */
function inFileOrder(parts: readonly string[]): string[] {
  const names = parts.map((_, index) => `policy${index}`).sort();
  const ordered = new Array<string>(parts.length);
  names.forEach((name, position) => (ordered[Number(name.slice("policy".length))] = parts[position] ?? ""));
  return ordered;
}

function placed(file: { readonly name: string; readonly text: string }, texts: readonly string[]): Piece[] {
  let cursor = 0;
  let line = 1;
  return texts.map((text) => {
    const start = Math.max(file.text.indexOf(text, cursor), cursor);
    line += file.text.slice(cursor, start).split("\n").length - 1;
    const { column } = endOf(file.text.slice(file.text.lastIndexOf("\n", start - 1) + 1, start));
    const piece = { file: file.name, line, column, text };
    line += text.split("\n").length - 1;
    cursor = start + text.length;
    return piece;
  });
}
