import type { ApprovalRequirement, Obligation } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import { dataClasses } from "../core/labels.ts";
import type { DataClass } from "../core/labels.ts";
import { approvalFaults, approvalNames, fits, refuseIf, requirementsOf } from "./approval-annotations.ts";
import type { ApprovalAnnotationName } from "./approval-annotations.ts";

/** What a policy's annotations ask of those who obey its decision. */
export type Instructions = {
  /** Present on a forbid that people can lift: all of it is needed. */
  readonly approval?: readonly ApprovalRequirement[];
  /** Present on a forbid that a changed or unmade call lifts. */
  readonly obligation?: Obligation;
  /** What `@reason` says, or a sentence that says no more than the effect does. */
  readonly reason: string;
};

/** Annotations are instructions to Countersign: an unknown one is a misspelt one, and `@quorm("2")` must not pass. */
const annotationNames = [
  "id",
  "decision",
  ...approvalNames,
  "argument",
  "data_classes",
  "max",
  "witnesses",
  "within",
  "reason",
] as const;
type AnnotationName = ApprovalAnnotationName | (typeof annotationNames)[number];
type Annotations = Partial<Record<AnnotationName, string>>;
/** As Cedar gives them: null is an annotation without a value. */
export type GivenAnnotations = readonly (readonly [string, string | null])[];

/** What each `@decision` of a forbid needs and may have beside `@id` and `@reason`. */
const decisions = {
  // Whom it asks, in one of two ways, is looked at in `approvalFaults`.
  require_approval: { needs: [], may: approvalNames },
  // Which of the two, is looked at in `redactionFaults`.
  redact: { needs: [], may: ["argument", "data_classes"] },
  cap: { needs: ["argument", "max"], may: ["argument", "max"] },
  shadow: { needs: [], may: [] },
  cosigned: { needs: ["witnesses"], may: ["witnesses", "within"] },
} as const satisfies Record<string, { needs: readonly AnnotationName[]; may: readonly AnnotationName[] }>;
type DecisionName = keyof typeof decisions;

const needed: Partial<Record<AnnotationName, string>> = {
  argument: "@argument is missing: of which argument?",
  max: "@max is missing: down to what?",
  witnesses: "@witnesses is missing: how many?",
};

export const policyIdPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
const argumentPattern = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;
const maxReason = 500;
const maxWitnesses = 20;
const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const maxWithinMs = 24 * 3_600_000;
const defaultWithin = "15m";

/** Everything wrong with a policy's annotations. */
export function annotationFaults(given: GivenAnnotations, effect: "permit" | "forbid"): string[] {
  const unknown = given.filter(([name]) => !annotationNames.some((known) => known === name)).map(([name]) => name);
  const empty = given.filter(([, value]) => value === null).map(([name]) => name);
  const {
    id,
    argument,
    data_classes: classes,
    max,
    witnesses,
    within,
    reason,
  } = Object.fromEntries(given) as Annotations;
  // What others say of a policy without the annotation that was meant would mislead.
  if (unknown.length > 0)
    return unknown.map((name) => {
      const meant = didYouMean(name, annotationNames);
      const hint = meant === undefined ? `expected one of @${annotationNames.join(", @")}` : `did you mean @${meant}?`;
      return `@${name} is not known; ${hint}`;
    });
  return [
    ...empty.map((name) => `@${name} has no value`),
    ...refuseIf(id === undefined, "@id is missing"),
    ...refuseIf(!fits(id, policyIdPattern), "@id: expected letters, digits, and . _ / - after the first"),
    ...decisionFaults(Object.fromEntries(given) as Annotations, effect),
    ...approvalFaults(Object.fromEntries(given) as Annotations),
    ...refuseIf(!fits(argument, argumentPattern), "@argument: expected the plain name of one argument"),
    ...refuseIf(
      classes !== undefined && classes !== null && classesOf(classes) === undefined,
      `@data_classes: expected some of ${dataClasses.join(", ")}, with commas between`,
    ),
    ...refuseIf(maxOf(max ?? "0") === undefined, "@max: expected a whole number up to 2^53 - 1"),
    ...refuseIf(
      witnessesOf(witnesses ?? "1") === undefined,
      `@witnesses: expected a whole number from 1 to ${maxWitnesses}`,
    ),
    ...refuseIf(withinOf(within ?? defaultWithin) === undefined, "@within: expected 30s, 15m or 2h, at most 24h"),
    ...refuseIf(
      !fits(reason, /^[^\p{Cc}]+$/u) || (reason ?? "").length > maxReason,
      `@reason: expected one line of at most ${maxReason} characters`,
    ),
  ];
}

/** What annotations without faults say. */
export function instructionsOf(policy: string, given: GivenAnnotations, effect: "permit" | "forbid"): Instructions {
  const annotations = Object.fromEntries(given) as Annotations;
  const approval = requirementsOf(policy, annotations);
  const obligation = obligationOf(policy, annotations);
  return {
    ...(approval === undefined ? {} : { approval }),
    ...(obligation === undefined ? {} : { obligation }),
    reason: annotations.reason ?? defaultReason(effect, approval, obligation),
  };
}

function decisionFaults(annotations: Annotations, effect: "permit" | "forbid"): string[] {
  const { decision } = annotations;
  const instructed = ([...approvalNames, "argument", "data_classes", "max", "witnesses", "within"] as const).filter(
    (name) => annotations[name] !== undefined,
  );
  if (decision === undefined && instructed.length === 0) return [];
  const known = decisionName(decision);
  if (known === undefined) {
    const names = Object.keys(decisions);
    const meant = didYouMean(decision ?? "", names);
    const hint = meant === undefined ? "" : `; did you mean ${quoted(meant)}?`;
    return [`@decision: expected ${names.map(quoted).join(", ")}${hint}`];
  }
  const { needs, may }: { readonly needs: readonly AnnotationName[]; readonly may: readonly AnnotationName[] } =
    decisions[known];
  return [
    ...refuseIf(effect === "permit", `@decision(${quoted(known)}) belongs on a forbid, this is a permit`),
    ...needs.flatMap((name) =>
      refuseIf(annotations[name] === undefined, needed[name] ?? `@${name} is missing, which it needs`),
    ),
    ...(known === "redact" ? redactionFaults(annotations) : []),
    ...instructed.flatMap((name) =>
      refuseIf(!may.includes(name), `@${name} does not belong to @decision(${quoted(known)})`),
    ),
  ];
}

function redactionFaults({ argument, data_classes: classes }: Annotations): string[] {
  if (argument === undefined && classes === undefined)
    return ["@argument is missing: of which argument? Of an answer's text, @data_classes says what is redacted"];
  return refuseIf(
    argument !== undefined && classes !== undefined,
    "@argument is for calls and @data_classes for answers: expected one of them",
  );
}

function decisionName(value: string | undefined): DecisionName | undefined {
  return (Object.keys(decisions) as DecisionName[]).find((name) => name === value);
}

function obligationOf(
  policy: string,
  { decision, argument, data_classes: classes, max, witnesses, within }: Annotations,
): Obligation | undefined {
  if (decision === "shadow") return { kind: "shadow", policy };
  if (decision === "cosigned") {
    const wanted = witnessesOf(witnesses);
    const withinMs = withinOf(within ?? defaultWithin);
    return wanted === undefined || withinMs === undefined
      ? undefined
      : { kind: "cosigned", policy, witnesses: wanted, withinMs };
  }
  const redacted = classesOf(classes);
  if (decision === "redact" && redacted !== undefined) return { kind: "redact", policy, dataClasses: redacted };
  if (argument === undefined) return undefined;
  if (decision === "redact") return { kind: "redact", policy, argument };
  const bound = maxOf(max);
  return decision === "cap" && bound !== undefined ? { kind: "cap", policy, argument, max: bound } : undefined;
}

/** Sorted, each once. */
function classesOf(value: string | null | undefined): readonly DataClass[] | undefined {
  if (value === null || value === undefined) return undefined;
  const names = value.split(",").map((name) => name.trim());
  const known = dataClasses.filter((name) => names.includes(name));
  return names.every((name) => known.some((one) => one === name)) ? known.toSorted() : undefined;
}

function maxOf(value: string | null | undefined): number | undefined {
  if (value === null || value === undefined || !/^(?:0|-?[1-9]\d{0,15})$/.test(value)) return undefined;
  return Number.isSafeInteger(Number(value)) ? Number(value) : undefined;
}

function witnessesOf(value: string | null | undefined): number | undefined {
  return /^[1-9]\d?$/.test(value ?? "") && Number(value) <= maxWitnesses ? Number(value) : undefined;
}

function withinOf(value: string | null | undefined): number | undefined {
  const match = /^([1-9]\d{0,4})([smh])$/.exec(value ?? "");
  const milliseconds = Number(match?.[1]) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
  return milliseconds <= maxWithinMs ? milliseconds : undefined;
}

function defaultReason(
  effect: "permit" | "forbid",
  approval: readonly ApprovalRequirement[] | undefined,
  obligation: Obligation | undefined,
): string {
  if (approval !== undefined)
    return `needs ${approval.map(({ quorum, group, orGroups = [] }) => `${quorum} of ${[group, ...orGroups].join(" or ")}`).join(" and ")}`;
  if (obligation === undefined) return effect === "permit" ? "permitted by policy" : "forbidden by policy";
  switch (obligation.kind) {
    case "redact":
      return "argument" in obligation
        ? `\`${obligation.argument}\` is redacted`
        : `${obligation.dataClasses.join(", ")}: redacted in the answer`;
    case "cap":
      return `\`${obligation.argument}\` is at most ${obligation.max}`;
    case "shadow":
      return "recorded, and not made";
    case "cosigned":
      return `made once ${obligation.witnesses} witnesses have cosigned that it is allowed`;
  }
}

function quoted(text: string): string {
  return `"${text}"`;
}
