/** What is valid and decides something, and is seldom meant: open classes, loose patterns, misspelt values and agents, tools that nothing permits. */
import { effectClasses } from "../core/action.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import type { Json } from "../core/json.ts";
import { kindOf } from "../core/retrieval.ts";
import { entitiesIn, operationsIn, patternOf } from "./lint-expressions.ts";
import type { PolicyTeam, Subject, Warn } from "./lint-subject.ts";
import { neverValues } from "./lint-values.ts";
import { actionOfTool, isKindGroup } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";

export function findSmells(subject: Subject, all: readonly Subject[], tools: readonly PolicyTool[], warn: Warn): void {
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
    const covered = tools.filter((tool) => subject.actions.has(actionOfTool(tool)));
    for (const { path, value, hint } of neverValues(one.body, covered))
      warn("never-that-value", subject, `\`${path}\` is never ${JSON.stringify(value)}`, hint, one.clause);
  }
}

/** Agents and teams that are misspelt, or of others: what is said of them is said of nobody. */
export function findStrangers(subject: Subject, { name, agents }: PolicyTeam, warn: Warn): void {
  const { principal, conditions } = subject.json;
  for (const { type, id } of entitiesIn([principal, ...conditions] as unknown as Json)) {
    const known = type === "Agent" ? agents : type === "Team" ? [name] : undefined;
    if (known === undefined || known.includes(id)) continue;
    const what =
      type === "Agent" ? `team ${name} has no agent \`${id}\`` : `the policies are for team ${name}, not \`${id}\``;
    const meant = didYouMean(id, known);
    warn(
      "unknown-principal",
      subject,
      what,
      meant === undefined ? `there are ${known.join(", ")}` : `did you mean ${meant}?`,
    );
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

export function findUnguardedTools(all: readonly Subject[], tools: readonly PolicyTool[], warn: Warn): void {
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

/** Actions that would always be denied. Where nothing is permitted at all, `checkPolicySet` says it. */
export function findUnpermitted(
  all: readonly Subject[],
  tools: readonly PolicyTool[],
  models: readonly string[],
  warn: Warn,
): void {
  const permits = all.filter(({ effect }) => effect === "permit");
  const denied = [...models, ...tools.map(actionOfTool)].filter(
    (action) => !permits.some(({ actions }) => actions.has(action)),
  );
  if (permits.length === 0 || denied.length === 0) return;
  const what = denied.length === 1 ? "it is" : "they are";
  warn(
    "never-permitted",
    undefined,
    `no policy permits ${denied.join(", ")}: ${what} always denied`,
    "add a permit, if that is not meant",
  );
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
