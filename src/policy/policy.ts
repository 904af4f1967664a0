import type { DetailedError, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import type { ApprovalRequirement } from "../core/decision.ts";
import { reader } from "./engine.ts";
import type { PolicyProblem } from "./errors.ts";
import { groupNamePattern } from "./schema.ts";

/** The actions that a policy's scope names: all, or the actions and groups listed. */
export type ActionScope =
  | { readonly kind: "all" }
  | { readonly kind: "is"; readonly action: string }
  | { readonly kind: "in"; readonly actions: readonly string[] };

/** One policy, read: what its annotations say, and which actions it is about. */
export type ReadPolicy = {
  readonly id: string;
  readonly text: string;
  readonly effect: "permit" | "forbid";
  /** Present on a forbid that people can lift. */
  readonly approval?: ApprovalRequirement;
  /** What `@reason` says, or a sentence that says no more than the effect does. */
  readonly reason: string;
  readonly scope: ActionScope;
  /** Every `Action::"…"` in scope and conditions. */
  readonly mentions: readonly string[];
};

/** Annotations are instructions to Countersign: an unknown one is a misspelt one, and `@quorm("2")` must not pass. */
const annotationNames = ["id", "decision", "group", "quorum", "expires", "reason"] as const;
type AnnotationName = (typeof annotationNames)[number];
type Annotations = Partial<Record<AnnotationName, string>>;

export const policyIdPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
const maxReason = 500;
const maxQuorum = 100;
const maxExpiresMs = 365 * 86_400_000;
const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const defaultExpires = "24h";
/** Deeper expressions overflow Cedar's stack at some stage: about 128 chained operators. Sets have no such limit. */
const maxDepth = 256;

/** Reads one Cedar policy. Lines in the problems count from the policy's own first line. */
export function readPolicy(text: string): { readonly policy: ReadPolicy } | { readonly problems: PolicyProblem[] } {
  const parsed = parse(text);
  if ("problems" in parsed) return parsed;
  const { json } = parsed;
  const given = Object.entries(json.annotations ?? {}) as [string, string | null][];
  const id = given.find(([name]) => name === "id")?.[1] ?? undefined;
  const named = id === undefined ? {} : { policy: id };
  const faults = [...annotationFaults(given, json.effect), ...shapeFaults(json)];
  if (faults.length > 0 || id === undefined) {
    return { problems: faults.map((message) => ({ severity: "error", ...named, line: 1, message })) };
  }
  const annotations = Object.fromEntries(given) as Annotations;
  const approval = approvalOf(id, annotations);
  return {
    policy: {
      id,
      text,
      effect: json.effect,
      ...(approval === undefined ? {} : { approval }),
      reason: annotations.reason ?? defaultReason(json.effect, approval),
      scope: scopeOf(json),
      mentions: mentionsOf(json),
    },
  };
}

function parse(text: string): { readonly json: PolicyJson } | { readonly problems: PolicyProblem[] } {
  const refuse = (message: string, line?: number): { problems: PolicyProblem[] } => ({
    problems: [{ severity: "error", ...(line === undefined ? {} : { line }), message }],
  });
  try {
    const answer = reader.run((cedar) => cedar.policyToJson(text));
    if (answer.type === "success") return { json: answer.json };
    const [error] = answer.errors;
    return refuse(messageOf(error), lineOf(text, error?.sourceLocations?.[0]?.start));
  } catch {
    return refuse("cedar cannot read this policy: it is nested too deeply");
  }
}

/** Cedar's message without its preamble, on one line. */
export function messageOf(error: DetailedError | undefined): string {
  const message = error?.message ?? "not a Cedar policy";
  const plain = message.replace(/^failed to parse policy from string: /, "").replace(/^for policy `[^`]*`, /, "");
  const hint = error?.help ? ` (${error.help})` : "";
  return `${plain}${hint}`.replace(/\s+/g, " ").slice(0, 500);
}

/** The line, from 1, that a byte offset of UTF-8 text is on. */
export function lineOf(text: string, byte: number | undefined): number | undefined {
  if (byte === undefined) return undefined;
  let line = 1;
  for (const value of Buffer.from(text, "utf8").subarray(0, byte)) if (value === 10) line += 1;
  return line;
}

function annotationFaults(given: readonly [string, string | null][], effect: "permit" | "forbid"): string[] {
  const unknown = given.filter(([name]) => !annotationNames.some((known) => known === name)).map(([name]) => name);
  const empty = given.filter(([, value]) => value === null).map(([name]) => name);
  const { id, decision, group, quorum, expires, reason } = Object.fromEntries(given) as Annotations;
  const asks = decision !== undefined || group !== undefined || quorum !== undefined || expires !== undefined;
  return [
    ...unknown.map((name) => `@${name} is not known; expected one of @${annotationNames.join(", @")}`),
    ...empty.map((name) => `@${name} has no value`),
    ...refuseIf(id === undefined, "@id is missing"),
    ...refuseIf(!fits(id, policyIdPattern), "@id: expected letters, digits, and . _ / - after the first"),
    ...refuseIf(asks && decision !== "require_approval", '@decision: expected "require_approval"'),
    ...refuseIf(asks && effect === "permit", '@decision("require_approval") belongs on a forbid, this is a permit'),
    ...refuseIf(asks && group === undefined, "@group is missing: who may approve?"),
    ...refuseIf(!fits(group, groupNamePattern), "@group: expected lower-case letters, digits, _ and -"),
    ...refuseIf(quorumOf(quorum) === undefined, `@quorum: expected a whole number from 1 to ${maxQuorum}`),
    ...refuseIf(expiresMsOf(expires) === undefined, "@expires: expected 30m, 24h or 7d, at most 365d"),
    ...refuseIf(
      !fits(reason, /^[^\p{Cc}]+$/u) || (reason ?? "").length > maxReason,
      `@reason: expected one line of at most ${maxReason} characters`,
    ),
  ];
}

function fits(value: string | null | undefined, pattern: RegExp): boolean {
  return value === undefined || value === null || pattern.test(value);
}

function refuseIf(refused: boolean, message: string): string[] {
  return refused ? [message] : [];
}

function approvalOf(policy: string, annotations: Annotations): ApprovalRequirement | undefined {
  const quorum = quorumOf(annotations.quorum);
  const expiresMs = expiresMsOf(annotations.expires);
  if (annotations.decision === undefined || annotations.group === undefined) return undefined;
  if (quorum === undefined || expiresMs === undefined) return undefined;
  return { policy, group: annotations.group, quorum, expiresMs };
}

function quorumOf(value: string | null | undefined): number | undefined {
  const text = value ?? "1";
  return /^[1-9]\d{0,2}$/.test(text) && Number(text) <= maxQuorum ? Number(text) : undefined;
}

function expiresMsOf(value: string | null | undefined): number | undefined {
  const match = /^([1-9]\d{0,6})([mhd])$/.exec(value ?? defaultExpires);
  const milliseconds = Number(match?.[1]) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
  return milliseconds <= maxExpiresMs ? milliseconds : undefined;
}

function defaultReason(effect: "permit" | "forbid", approval: ApprovalRequirement | undefined): string {
  if (approval !== undefined) return `needs ${approval.quorum} of ${approval.group}`;
  return effect === "permit" ? "permitted by policy" : "forbidden by policy";
}

function shapeFaults(json: PolicyJson): string[] {
  const foreign = json.action.op === "All" || actionsIn(json).every((entity) => entity.type === "Action");
  return [
    ...refuseIf(!foreign, "the scope names an action that is not of type Action"),
    ...refuseIf(isDeeperThan(json, maxDepth), "expressions are nested too deeply; use a set with .contains()"),
  ];
}

function scopeOf(json: PolicyJson): ActionScope {
  const actions = actionsIn(json).map(({ id }) => id);
  if (json.action.op === "All") return { kind: "all" };
  const [first] = actions;
  return json.action.op === "==" && first !== undefined ? { kind: "is", action: first } : { kind: "in", actions };
}

function actionsIn({ action }: PolicyJson): { type: string; id: string }[] {
  if (action.op === "All") return [];
  const uids = "entities" in action ? action.entities : "entity" in action ? [action.entity] : [];
  return uids.map((uid) => ("__entity" in uid ? uid.__entity : uid));
}

/** Iterative: the JSON of a hostile policy may be deeper than our own stack. */
function* nodesOf(root: unknown): Generator<{ value: object; depth: number }> {
  const waiting: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, depth } = next;
    if (typeof value !== "object" || value === null) continue;
    yield { value, depth };
    for (const inner of Object.values(value)) waiting.push({ value: inner, depth: depth + 1 });
  }
}

function isDeeperThan(root: unknown, limit: number): boolean {
  for (const { depth } of nodesOf(root)) if (depth > limit) return true;
  return false;
}

function mentionsOf(json: PolicyJson): string[] {
  const found = new Set<string>();
  for (const { value } of nodesOf({ action: json.action, conditions: json.conditions })) {
    if ("type" in value && value.type === "Action" && "id" in value && typeof value.id === "string")
      found.add(value.id);
  }
  return [...found];
}
