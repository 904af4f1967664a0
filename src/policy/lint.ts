import type { Json } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { literal, operationsIn, pathOf } from "./lint-expressions.ts";
import { isImplied } from "./lint-ranges.ts";
import { findSmells, findStrangers, findUnguardedTools, findUnpermitted } from "./lint-smells.ts";
import { subjectOf } from "./lint-subject.ts";
import type { PolicyTeam, PolicyWarning, Subject, Warn } from "./lint-subject.ts";
import { placeOfClause } from "./places.ts";
import { readPolicy } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import { locate } from "./policy-set.ts";
import type { PolicySetDocument, PolicySources } from "./policy-set.ts";
import { isKindGroup, modelAction, responseAction } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { mentionsResponse } from "./slices.ts";
import { atOnce, inTurns } from "./turns.ts";
import type { Turns } from "./turns.ts";

/**
 * What looks wrong in policies that {@link checkPolicySet} finds valid, with the tools that they are for. Policies that cannot be read are
 * left to it. Sound where it speaks of shadowing (a policy said to be shadowed decides nothing), a matter of taste where it speaks of smells.
 */
export function lintPolicies(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources = new Map(),
  team?: PolicyTeam,
): PolicyWarning[] {
  return atOnce(linting(document, tools, sources, team));
}

/** The same for a thread that has other work. */
export function lintInTurns(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  team?: PolicyTeam,
): Promise<PolicyWarning[]> {
  return inTurns(linting(document, tools, new Map(), team));
}

function* linting(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources,
  team: PolicyTeam | undefined,
): Turns<PolicyWarning[]> {
  const read: { readonly policy: ReadPolicy; readonly text: string }[] = [];
  for (const { text } of document.policies) {
    const one = readPolicy(text);
    if ("policy" in one) read.push({ policy: one.policy, text });
    yield;
  }
  const models = mentionsResponse(read.map(({ policy }) => policy)) ? [modelAction, responseAction] : [modelAction];
  const subjects: Subject[] = [];
  for (const { policy, text } of read) {
    const subject = subjectOf(policy, text, tools, models);
    if (subject !== undefined) subjects.push(subject);
    yield;
  }
  const found: PolicyWarning[] = [];
  const warn: Warn = (rule, policy, message, hint, clause) => {
    const at = policy === undefined || clause === undefined ? undefined : placeOfClause(policy.text, clause);
    const place = policy === undefined ? {} : { policy: policy.id, ...at };
    found.push({ severity: "warning", ...place, rule, message, hint });
  };
  const alive = subjects.filter((subject) => !isDead(subject, tools, warn));
  yield* findShadowed(alive, warn);
  for (const subject of alive) {
    findSmells(subject, alive, tools, warn);
    if (team !== undefined) findStrangers(subject, team, warn);
    yield;
  }
  findUnguardedTools(alive, tools, warn);
  findUnpermitted(alive, tools, models, warn);
  return found.map((problem) => ({ ...problem, ...locate(problem, sources) }));
}

/** Policies that decide nothing at all: said once, and not compared with others. */
function isDead(subject: Subject, tools: readonly PolicyTool[], warn: Warn): boolean {
  const {
    scope: { action: scope },
    effect,
    neverTrue,
  } = subject;
  if (neverTrue !== undefined) {
    const condition = neverTrue.negated ? "its `unless` is always true" : "its `when` is never true";
    if (effect === "forbid") {
      warn(
        "forbid-never-fires",
        subject,
        `this forbid never fires: ${condition}`,
        "remove it, or mend the condition",
        neverTrue.clause,
      );
    } else {
      warn(
        "never-applies",
        subject,
        `this permit never applies: ${condition}`,
        "remove it, or mend the condition",
        neverTrue.clause,
      );
    }
    return true;
  }
  if (subject.actions.size > 0) return effect === "forbid" && isAboutNobody(subject, tools, warn);
  // A forbid on a class of effects is there for tools to come.
  const named = scope.kind === "all" ? [] : scope.kind === "is" ? [scope.action] : scope.actions;
  if (effect === "forbid" && named.every((action) => isKindGroup(action) || action.startsWith("effect/"))) return false;
  const rule = effect === "forbid" ? "forbid-never-fires" : "unreachable";
  warn(
    rule,
    subject,
    `no tool is covered by its scope (${named.join(", ")})`,
    "name a tool or group that an agent has, or remove the policy",
  );
  return true;
}

/** A forbid whose condition compares the tool's name or groups with what no tool has. */
function isAboutNobody(subject: Subject, tools: readonly PolicyTool[], warn: Warn): boolean {
  const groups = new Set(tools.flatMap((tool) => tool.groups));
  const names = new Set(tools.map((tool) => tool.name));
  for (const { body, negated, clause } of subject.conjuncts) {
    if (negated) continue;
    const [compared] = operationsIn(body, "==");
    const [contains] = operationsIn(body, "contains");
    const isWhole = (operator: string): boolean =>
      typeof body === "object" && body !== null && Object.hasOwn(body, operator);
    const name = isWhole("==") && compared !== undefined ? comparedWith(compared, "context.tool.name") : undefined;
    const group =
      isWhole("contains") && pathOf(contains?.["left"]) === "context.tool.groups"
        ? literal(contains?.["right"])
        : undefined;
    const absent =
      typeof name === "string" && !names.has(name)
        ? `tool \`${name}\``
        : typeof group === "string" && !groups.has(group)
          ? `group \`${group}\``
          : undefined;
    if (absent === undefined) continue;
    warn(
      "forbid-never-fires",
      subject,
      `this forbid never fires: no tool of an agent is ${absent.startsWith("group") ? "in " : ""}${absent}`,
      "is the name misspelt?",
      clause,
    );
    return true;
  }
  return false;
}

function comparedWith(
  operands: { readonly [name: string]: Json | undefined },
  path: string,
): string | number | boolean | undefined {
  if (pathOf(operands["left"]) === path) return literal(operands["right"]);
  return pathOf(operands["right"]) === path ? literal(operands["left"]) : undefined;
}

/** Whether `wide` is about every request that `narrow` is about: a sufficient test, by scope, the conditions' texts and ranges of numbers. */
function covers(wide: Subject, narrow: Subject): boolean {
  if (wide.needs.size > narrow.needs.size || wide.actions.size < narrow.actions.size) return false;
  if (!wide.anybody && wide.who !== narrow.who) return false;
  for (const one of wide.conjuncts)
    if (wide.needs.has(one.text) && !narrow.needs.has(one.text) && !isImplied(one, narrow.ranges)) return false;
  for (const action of narrow.actions) if (!wide.actions.has(action)) return false;
  return true;
}

function* findShadowed(subjects: readonly Subject[], warn: Warn): Turns<void> {
  const finals = subjects.filter((subject) => isFinal(subject));
  const firstOf = new Map<string, Subject>();
  for (const subject of subjects.filter(({ actions }) => actions.size > 0)) {
    yield;
    const print = printOf(subject);
    const twin = firstOf.get(print);
    if (twin !== undefined) {
      warn("duplicate", subject, `says the same as ${twin.id}, for these tools`, "keep one of them");
      continue;
    }
    firstOf.set(print, subject);
    const shadow = finals.find((other) => other !== subject && covers(other, subject) && !isMutual(other, subject));
    if (shadow === undefined) continue;
    const what =
      subject.effect === "permit"
        ? "it never permits anything"
        : isFinal(subject)
          ? "it adds nothing"
          : subject.approval === undefined
            ? "its obligation is never owed"
            : "nobody is ever asked";
    warn(
      "shadowed",
      subject,
      `${what}: ${shadow.id} forbids all that it is about`,
      `narrow ${shadow.id}, or remove this policy`,
    );
  }
}

/** Two final forbids that are about the same: `duplicate` has said it, or will. */
function isMutual(a: Subject, b: Subject): boolean {
  return isFinal(b) && covers(b, a);
}

function isFinal({ effect, approval, obligation }: Subject): boolean {
  return effect === "forbid" && approval === undefined && obligation === undefined;
}

function printOf({ effect, approval, obligation, who, actions, needs }: Subject): string {
  const asks = approval === undefined ? null : approval.map(({ policy: _itself, ...terms }) => terms);
  const owes = obligation === undefined ? null : { ...obligation, policy: "" };
  return canonicalText([effect, asks, owes, who, [...actions].sort(), [...needs].sort()]);
}
