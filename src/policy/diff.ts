import type { Json } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { causeOf, changeOf, unfit, verdictOf } from "./backtest.ts";
import type { ChangeKind, Verdict } from "./backtest.ts";
import { onItsTerms } from "./cases.ts";
import type { PolicyCase } from "./cases.ts";
import { compilePolicies } from "./compile.ts";
import type { CompiledPolicies } from "./compile.ts";
import { explain } from "./decide.ts";
import { reader } from "./engine.ts";
import { PolicyError } from "./errors.ts";
import type { PolicySetDocument } from "./policy-set.ts";
import type { PolicyTool } from "./schema.ts";

/** What differs between two policy sets as texts. Policies are told apart by their ids. */
export type PolicySetDiff = {
  readonly added: readonly { readonly id: string; readonly text: string }[];
  readonly removed: readonly { readonly id: string; readonly text: string }[];
  readonly changed: readonly { readonly id: string; readonly before: string; readonly after: string }[];
  /** Other blanks or comments; the same to Cedar. */
  readonly reformatted: readonly string[];
  readonly unchanged: number;
  /** Names of history facts that only one of them declares, or both differently. */
  readonly history: readonly string[];
};

export function diffPolicySets(before: PolicySetDocument, after: PolicySetDocument): PolicySetDiff {
  const old = new Map(before.policies.map(({ id, text }) => [id, text]));
  const now = new Map(after.policies.map(({ id, text }) => [id, text]));
  const both = [...old].flatMap(([id, text]) => {
    const later = now.get(id);
    return later === undefined ? [] : [{ id, before: text, after: later }];
  });
  const rewritten = both.filter((one) => one.before !== one.after);
  const changed = rewritten.filter((one) => meaningOf(one.before) !== meaningOf(one.after));
  return {
    added: after.policies.filter(({ id }) => !old.has(id)),
    removed: before.policies.filter(({ id }) => !now.has(id)),
    changed,
    reformatted: rewritten.filter((one) => !changed.includes(one)).map(({ id }) => id),
    unchanged: both.length - rewritten.length,
    history: historyDiff(before, after),
  };
}

/** Cedar's own reading of the text, annotations included; the text itself where it cannot be read. */
function meaningOf(text: string): string {
  try {
    const answer = reader.run((cedar) => cedar.policyToJson(text));
    return answer.type === "success" ? canonicalText(answer.json as unknown as Json) : text;
  } catch {
    return text;
  }
}

function historyDiff(before: PolicySetDocument, after: PolicySetDocument): readonly string[] {
  const print = (document: PolicySetDocument) =>
    new Map((document.history ?? []).map((fact) => [fact.name, canonicalText(fact)]));
  const [old, now] = [print(before), print(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name)).sort();
}

/** A case that two sets decide otherwise. */
export type CaseChange = {
  readonly name: string;
  readonly kind: Exclude<ChangeKind, "unchanged">;
  readonly cause: string;
  readonly from: Verdict;
  readonly to: Verdict;
};

/**
 * The cases that `after` decides otherwise than `before`. What a case expects is not looked at. A set that does not fit the tools denies
 * every case, as the gate would. Throws PolicyError `tools_invalid`.
 */
export function diffCases(
  before: PolicySetDocument,
  after: PolicySetDocument,
  tools: readonly PolicyTool[],
  cases: readonly PolicyCase[],
): readonly CaseChange[] {
  const [old, now] = [compiledOrNone(before, tools), compiledOrNone(after, tools)];
  return cases.flatMap((one) => {
    const [from, to] = [verdictOn(old, one), verdictOn(now, one)];
    const kind = changeOf(from, to);
    return kind === "unchanged" ? [] : [{ name: one.name, kind, cause: causeOf(from, to), from, to }];
  });
}

function compiledOrNone(document: PolicySetDocument, tools: readonly PolicyTool[]): CompiledPolicies | undefined {
  try {
    return compilePolicies(document, tools);
  } catch (error) {
    if (error instanceof PolicyError && error.code === "policies_invalid") return undefined;
    throw error;
  }
}

function verdictOn(compiled: CompiledPolicies | undefined, { request, approved }: PolicyCase): Verdict {
  if (compiled === undefined) return unfit;
  const asked = { ...request, facts: { ...request.facts, history: { ...nought(compiled), ...request.facts.history } } };
  const { decision, effective } = explain(compiled, asked, onItsTerms(compiled, asked, approved));
  return verdictOf(decision, effective);
}

/** A case of the one set says nothing of what only the other counts: nothing happened before, as in every case. */
function nought({ history }: CompiledPolicies): Readonly<Record<string, number>> {
  return Object.fromEntries(history.map(({ name }) => [name, 0]));
}
