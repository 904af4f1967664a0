import type { ApprovalRequirement, Obligation } from "../core/decision.ts";
import { groupNamePattern } from "./schema.ts";

/** What a policy's annotations ask of those who obey its decision. */
export type Instructions = {
  /** Present on a forbid that people can lift. */
  readonly approval?: ApprovalRequirement;
  /** Present on a forbid that a changed or unmade call lifts. */
  readonly obligation?: Obligation;
  /** What `@reason` says, or a sentence that says no more than the effect does. */
  readonly reason: string;
};

/** Annotations are instructions to Countersign: an unknown one is a misspelt one, and `@quorm("2")` must not pass. */
const annotationNames = [
  "id",
  "decision",
  "group",
  "quorum",
  "expires",
  "editor",
  "argument",
  "max",
  "reason",
] as const;
type AnnotationName = (typeof annotationNames)[number];
type Annotations = Partial<Record<AnnotationName, string>>;
/** As Cedar gives them: null is an annotation without a value. */
export type GivenAnnotations = readonly (readonly [string, string | null])[];

/** What each `@decision` of a forbid needs and may have beside `@id` and `@reason`. */
const decisions = {
  require_approval: { needs: ["group"], may: ["group", "quorum", "expires", "editor"] },
  redact: { needs: ["argument"], may: ["argument"] },
  cap: { needs: ["argument", "max"], may: ["argument", "max"] },
  shadow: { needs: [], may: [] },
} as const satisfies Record<string, { needs: readonly AnnotationName[]; may: readonly AnnotationName[] }>;
type DecisionName = keyof typeof decisions;

const needed: Partial<Record<AnnotationName, string>> = {
  group: "@group is missing: who may approve?",
  argument: "@argument is missing: of which argument?",
  max: "@max is missing: down to what?",
};

export const policyIdPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
const argumentPattern = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;
const maxReason = 500;
const maxQuorum = 100;
const maxExpiresMs = 365 * 86_400_000;
const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const defaultExpires = "24h";

/** Everything wrong with a policy's annotations. */
export function annotationFaults(given: GivenAnnotations, effect: "permit" | "forbid"): string[] {
  const unknown = given.filter(([name]) => !annotationNames.some((known) => known === name)).map(([name]) => name);
  const empty = given.filter(([, value]) => value === null).map(([name]) => name);
  const { id, group, quorum, expires, editor, argument, max, reason } = Object.fromEntries(given) as Annotations;
  return [
    ...unknown.map((name) => `@${name} is not known; expected one of @${annotationNames.join(", @")}`),
    ...empty.map((name) => `@${name} has no value`),
    ...refuseIf(id === undefined, "@id is missing"),
    ...refuseIf(!fits(id, policyIdPattern), "@id: expected letters, digits, and . _ / - after the first"),
    ...decisionFaults(Object.fromEntries(given) as Annotations, effect),
    ...refuseIf(!fits(group, groupNamePattern), "@group: expected lower-case letters, digits, _ and -"),
    ...refuseIf(quorumOf(quorum) === undefined, `@quorum: expected a whole number from 1 to ${maxQuorum}`),
    ...refuseIf(expiresMsOf(expires) === undefined, "@expires: expected 30m, 24h or 7d, at most 365d"),
    ...refuseIf(editor !== undefined && editor !== "counts", '@editor: expected "counts", or no @editor at all'),
    ...refuseIf(!fits(argument, argumentPattern), "@argument: expected the plain name of one argument"),
    ...refuseIf(maxOf(max ?? "0") === undefined, "@max: expected a whole number up to 2^53 - 1"),
    ...refuseIf(
      !fits(reason, /^[^\p{Cc}]+$/u) || (reason ?? "").length > maxReason,
      `@reason: expected one line of at most ${maxReason} characters`,
    ),
  ];
}

/** What annotations without faults say. */
export function instructionsOf(policy: string, given: GivenAnnotations, effect: "permit" | "forbid"): Instructions {
  const annotations = Object.fromEntries(given) as Annotations;
  const approval = approvalOf(policy, annotations);
  const obligation = obligationOf(policy, annotations);
  return {
    ...(approval === undefined ? {} : { approval }),
    ...(obligation === undefined ? {} : { obligation }),
    reason: annotations.reason ?? defaultReason(effect, approval, obligation),
  };
}

function decisionFaults(annotations: Annotations, effect: "permit" | "forbid"): string[] {
  const { decision } = annotations;
  const instructed = (["group", "quorum", "expires", "editor", "argument", "max"] as const).filter(
    (name) => annotations[name] !== undefined,
  );
  if (decision === undefined && instructed.length === 0) return [];
  const known = decisionName(decision);
  if (known === undefined) return [`@decision: expected ${Object.keys(decisions).map(quoted).join(", ")}`];
  const { needs, may }: { readonly needs: readonly AnnotationName[]; readonly may: readonly AnnotationName[] } =
    decisions[known];
  return [
    ...refuseIf(effect === "permit", `@decision(${quoted(known)}) belongs on a forbid, this is a permit`),
    ...needs.flatMap((name) =>
      refuseIf(annotations[name] === undefined, needed[name] ?? `@${name} is missing, which it needs`),
    ),
    ...instructed.flatMap((name) =>
      refuseIf(!may.includes(name), `@${name} does not belong to @decision(${quoted(known)})`),
    ),
  ];
}

function decisionName(value: string | undefined): DecisionName | undefined {
  return (Object.keys(decisions) as DecisionName[]).find((name) => name === value);
}

function approvalOf(policy: string, annotations: Annotations): ApprovalRequirement | undefined {
  if (annotations.decision !== "require_approval" || annotations.group === undefined) return undefined;
  const quorum = quorumOf(annotations.quorum);
  const expiresMs = expiresMsOf(annotations.expires);
  if (quorum === undefined || expiresMs === undefined) return undefined;
  const counts = annotations.editor === "counts" ? { editorCounts: true as const } : {};
  return { policy, group: annotations.group, quorum, expiresMs, ...counts };
}

function obligationOf(policy: string, { decision, argument, max }: Annotations): Obligation | undefined {
  if (decision === "shadow") return { kind: "shadow", policy };
  if (argument === undefined) return undefined;
  if (decision === "redact") return { kind: "redact", policy, argument };
  const bound = maxOf(max);
  return decision === "cap" && bound !== undefined ? { kind: "cap", policy, argument, max: bound } : undefined;
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

function maxOf(value: string | null | undefined): number | undefined {
  if (value === null || value === undefined || !/^(?:0|-?[1-9]\d{0,15})$/.test(value)) return undefined;
  return Number.isSafeInteger(Number(value)) ? Number(value) : undefined;
}

function defaultReason(
  effect: "permit" | "forbid",
  approval: ApprovalRequirement | undefined,
  obligation: Obligation | undefined,
): string {
  if (approval !== undefined) return `needs ${approval.quorum} of ${approval.group}`;
  if (obligation === undefined) return effect === "permit" ? "permitted by policy" : "forbidden by policy";
  switch (obligation.kind) {
    case "redact":
      return `\`${obligation.argument}\` is redacted`;
    case "cap":
      return `\`${obligation.argument}\` is at most ${obligation.max}`;
    case "shadow":
      return "recorded, and not made";
  }
}

function fits(value: string | null | undefined, pattern: RegExp): boolean {
  return value === undefined || value === null || pattern.test(value);
}

function refuseIf(refused: boolean, message: string): string[] {
  return refused ? [message] : [];
}

function quoted(text: string): string {
  return `"${text}"`;
}
