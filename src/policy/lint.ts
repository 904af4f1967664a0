import { effectClasses } from "../core/action.ts";
import type { Json } from "../core/json.ts";
import { kindOf } from "../core/retrieval.ts";
import { canonicalText } from "../store/canonical.ts";
import { reader } from "./engine.ts";
import type { PolicyProblem } from "./errors.ts";
import { conjunctsOf, constantOf, literal, operationsIn, pathOf, patternOf } from "./lint-expressions.ts";
import type { Conjunct } from "./lint-expressions.ts";
import { readPolicy } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import { locate } from "./policy-set.ts";
import type { PolicySetDocument, PolicySources } from "./policy-set.ts";
import { coversAction } from "./scope.ts";
import type { ActionScope } from "./scope.ts";
import { actionOfTool, groupsOfTool, isKindGroup, modelAction, responseAction } from "./schema.ts";
import { mentionsResponse } from "./slices.ts";
import { atOnce, inTurns } from "./turns.ts";
import type { Turns } from "./turns.ts";
import type { PolicyTool } from "./schema.ts";

export const lintRules = [
  /** Its scope has no action that any tool is. */
  "unreachable",
  /** Its conditions are never true. */
  "never-applies",
  /** Another policy decides everything that this one is about. */
  "shadowed",
  "duplicate",
  "permits-everything",
  /** An `unless` that is always true, or a condition that speaks of a tool or group that nobody has: the forbid is none. */
  "forbid-never-fires",
  "acting-without-a-forbid",
  "tool-without-a-forbid",
  "loose-pattern",
] as const;
export type LintRule = (typeof lintRules)[number];

/** A warning about policies that are valid, and probably not what their author means. */
export type PolicyWarning = PolicyProblem & { readonly rule: LintRule; readonly hint: string };

type Warn = (rule: LintRule, policy: Subject | undefined, message: string, hint: string, clause?: number) => void;

/** A policy with what the rules go by. */
type Subject = ReadPolicy & {
  /** The actions it covers, of those there are. */
  readonly actions: ReadonlySet<string>;
  /** Principal and resource scope, as one text. */
  readonly who: string;
  readonly anybody: boolean;
  readonly conjuncts: readonly Conjunct[];
  /** Those that are not always true. */
  readonly needs: ReadonlySet<string>;
  readonly neverTrue: Conjunct | undefined;
};

/**
 * What looks wrong in policies that {@link checkPolicySet} finds valid, with the tools that they are for. Policies that cannot be read are
 * left to it. Sound where it speaks of shadowing (a policy said to be shadowed decides nothing), a matter of taste where it speaks of smells.
 */
export function lintPolicies(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources = new Map(),
): PolicyWarning[] {
  return atOnce(linting(document, tools, sources));
}

/** The same for a thread that has other work. */
export function lintInTurns(document: PolicySetDocument, tools: readonly PolicyTool[]): Promise<PolicyWarning[]> {
  return inTurns(linting(document, tools, new Map()));
}

function* linting(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources,
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
    const line = policy === undefined || clause === undefined ? undefined : lineOfClause(policy.text, clause);
    const place = policy === undefined ? {} : { policy: policy.id, ...(line === undefined ? {} : { line }) };
    found.push({ severity: "warning", ...place, rule, message, hint });
  };
  const alive = subjects.filter((subject) => !isDead(subject, tools, warn));
  yield* findShadowed(alive, warn);
  for (const subject of alive) {
    findSmells(subject, alive, tools, warn);
    yield;
  }
  findUnguardedTools(alive, tools, warn);
  return found.map((problem) => ({ ...problem, ...locate(problem, sources) }));
}

function subjectOf(
  policy: ReadPolicy,
  text: string,
  tools: readonly PolicyTool[],
  models: readonly string[],
): Subject | undefined {
  const answer = reader.run((cedar) => cedar.policyToJson(text));
  if (answer.type === "failure") return undefined;
  const { principal, resource } = answer.json;
  const conjuncts = conjunctsOf(answer.json);
  const isAlways = (one: Conjunct): boolean => constantOf(one.body) === !one.negated;
  return {
    ...policy,
    actions: actionsOf(policy.scope.action, tools, models),
    who: canonicalText([principal, resource] as unknown as Json),
    anybody: principal.op === "All" && resource.op === "All",
    conjuncts,
    needs: new Set(conjuncts.filter((one) => !isAlways(one)).map((one) => one.text)),
    neverTrue: conjuncts.find((one) => constantOf(one.body) === one.negated),
  };
}

function actionsOf(scope: ActionScope, tools: readonly PolicyTool[], models: readonly string[]): ReadonlySet<string> {
  const all = [
    ...models.map((action) => ({ action, groups: [] })),
    ...tools.map((tool) => ({ action: actionOfTool(tool), groups: groupsOfTool(tool) })),
  ];
  return new Set(all.filter(({ action, groups }) => coversAction(scope, action, groups)).map(({ action }) => action));
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

/** Whether `wide` is about every request that `narrow` is about: a sufficient test, by scope and by the conditions' texts. */
function covers(wide: Subject, narrow: Subject): boolean {
  if (wide.needs.size > narrow.needs.size || wide.actions.size < narrow.actions.size) return false;
  if (!wide.anybody && wide.who !== narrow.who) return false;
  for (const need of wide.needs) if (!narrow.needs.has(need)) return false;
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

function findSmells(subject: Subject, all: readonly Subject[], tools: readonly PolicyTool[], warn: Warn): void {
  const { effect, anybody, needs } = subject;
  const scope = subject.scope.action;
  const unconditional = anybody && needs.size === 0;
  if (effect === "permit" && unconditional && scope.kind === "all") {
    warn(
      "permits-everything",
      subject,
      "permits everything to everybody, without a condition",
      "permit `effect/read`, and what else is needed tool by tool",
    );
  }
  if (effect === "permit" && needs.size === 0) findOpenClasses(subject, all, tools, warn);
  for (const one of subject.conjuncts) {
    for (const like of operationsIn(one.body, "like")) {
      const fault = patternFault(patternOf(like));
      if (fault !== undefined) warn("loose-pattern", subject, fault.message, fault.hint, one.clause);
    }
  }
}

const actingClasses = effectClasses.filter((effect) => effect !== "read");

function findOpenClasses(subject: Subject, all: readonly Subject[], tools: readonly PolicyTool[], warn: Warn): void {
  const scope = subject.scope.action;
  if (scope.kind !== "in") return;
  const open = actingClasses.filter((effect) => {
    if (!scope.actions.includes(`effect/${effect}`)) return false;
    const ofClass = tools.filter((tool) => tool.effect === effect).map(actionOfTool);
    return !all.some((other) => other.effect === "forbid" && speaksOf(other, effect, ofClass));
  });
  if (open.length === 0) return;
  warn(
    "acting-without-a-forbid",
    subject,
    `permits every tool of ${open.map((effect) => `effect/${effect}`).join(", ")}, and no forbid is about any of them`,
    'add a forbid with @decision("require_approval"), or permit the tools by name',
  );
}

function speaksOf({ scope: { action: scope }, actions }: Subject, effect: string, ofClass: readonly string[]): boolean {
  if (scope.kind === "all") return true;
  if (scope.kind === "in" && scope.actions.some((action) => isKindGroup(action) || action === `effect/${effect}`))
    return true;
  return ofClass.some((action) => actions.has(action));
}

function findUnguardedTools(all: readonly Subject[], tools: readonly PolicyTool[], warn: Warn): void {
  for (const tool of tools) {
    const { name, effect } = tool;
    if (effect !== "egress" && effect !== "destructive") continue;
    const about = all.filter((subject) => subject.actions.has(actionOfTool(tool)));
    if (!about.some((subject) => subject.effect === "permit") || about.some((subject) => subject.effect === "forbid"))
      continue;
    warn(
      "tool-without-a-forbid",
      undefined,
      `${kindOf(tool) === "tool" ? "tool" : "source"} \`${name}\` (${effect}) is permitted, and no forbid is about it`,
      "forbid what it must not do, or let a person agree to it",
    );
  }
}

/** Text that names a host, as in `@x.com`, `.x.com` or `https://x.com`. */
const hostAtEnd = /[\p{L}\p{N}-]\.\p{L}{2,}$/u;

function patternFault(pattern: string): { readonly message: string; readonly hint: string } | undefined {
  if (pattern === "*") return { message: '`like "*"` is true of every text', hint: "compare with what is meant" };
  const shown = JSON.stringify(pattern);
  const pieces = pattern.split("*");
  const last = pieces.at(-1) ?? "";
  const before = pieces.at(-2) ?? "";
  if (last === "" && hostAtEnd.test(before)) {
    return {
      message: `\`like ${shown}\` also fits names that only begin so, such as \`${before}.evil.example\``,
      hint: `end it: ${JSON.stringify(pattern.slice(0, -1))}, or ${JSON.stringify(`${pattern.slice(0, -1)}/*`)} for a URL`,
    };
  }
  if (pieces.length > 1 && hostAtEnd.test(last) && /^[\p{L}\p{N}]/u.test(last)) {
    return {
      message: `\`like ${shown}\` also fits names that only end so, such as \`evil${last}\``,
      hint: `say where the name begins: ${JSON.stringify(`*@${last}`)} or ${JSON.stringify(`*.${last}`)}`,
    };
  }
  return undefined;
}

/** The line, from 1, of a policy's nth `when` or `unless`; strings and comments are not looked into. */
function lineOfClause(text: string, clause: number): number | undefined {
  const bare = text.replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*/g, (found) => " ".repeat(found.length));
  const place = [...bare.matchAll(/\b(?:when|unless)\s*\{/g)][clause]?.index;
  return place === undefined ? undefined : bare.slice(0, place).split("\n").length;
}
