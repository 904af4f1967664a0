import type { ApprovalRequirement } from "../core/decision.ts";
import { groupNamePattern } from "./schema.ts";

/** What `@decision("require_approval")` may have beside it. */
export const approvalNames = [
  "group",
  "quorum",
  "approvers",
  "distinct",
  "expires",
  "escalate_after",
  "escalate_to",
  "remind_after",
  "amount",
  "signed",
  "editor",
] as const;
export type ApprovalAnnotationName = (typeof approvalNames)[number];
type Annotations = { readonly decision?: string | null } & {
  readonly [Name in ApprovalAnnotationName]?: string | null;
};

type Wanted = { readonly quorum: number; readonly groups: readonly [string, ...string[]] };

const maxQuorum = 100;
const maxRequirements = 10;
const maxGroups = 10;
const maxMs = 365 * 86_400_000;
const maxReminders = 100;
const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const defaultExpires = "24h";
const argumentPattern = /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/;
/** They have a meaning in `@approvers`. */
const words = new Set(["and", "or", "of"]);

/** Everything wrong with what a policy says of the approvals that it asks for. Whether it may ask for any is not looked at here. */
export function approvalFaults(given: Annotations): string[] {
  const { decision, group, quorum, approvers, distinct, amount, signed, editor } = given;
  const asks = decision === "require_approval";
  return [
    ...refuseIf(
      asks && group === undefined && approvers === undefined,
      "@group is missing, or @approvers: who may approve?",
    ),
    ...refuseIf(
      approvers !== undefined && (group !== undefined || quorum !== undefined),
      "@approvers says it all: leave out @group and @quorum",
    ),
    ...refuseIf(!fits(group, groupNamePattern), "@group: expected lower-case letters, digits, _ and -"),
    ...refuseIf(quorumOf(quorum ?? "1") === undefined, `@quorum: expected a whole number from 1 to ${maxQuorum}`),
    ...(typeof approvers === "string" ? approversFaults(approvers) : []),
    ...refuseIf(!fits(distinct, /^true$/), '@distinct: expected "true", or to be left out'),
    ...refuseIf(!fits(signed, /^passkey$/), '@signed: expected "passkey"'),
    ...refuseIf(!fits(editor, /^counts$/), '@editor: expected "counts", or no @editor at all'),
    ...refuseIf(!fits(amount, argumentPattern), "@amount: expected the plain name of one argument"),
    ...timeFaults(given),
  ];
}

/** What annotations without faults ask for; undefined where they ask nobody. */
export function requirementsOf(policy: string, given: Annotations): readonly ApprovalRequirement[] | undefined {
  if (given.decision !== "require_approval") return undefined;
  const wanted = wantedOf(given);
  const expiresMs = millisecondsOf(given.expires ?? defaultExpires);
  if (wanted === undefined || expiresMs === undefined) return undefined;
  const afterMs = millisecondsOf(given.escalate_after);
  const to = groupsOf(given.escalate_to);
  const remindMs = millisecondsOf(given.remind_after);
  const terms = {
    expiresMs,
    ...(given.distinct === "true" ? ({ distinct: true } as const) : {}),
    ...(afterMs === undefined || to === undefined ? {} : { escalate: { afterMs, to } }),
    ...(remindMs === undefined ? {} : { remindMs }),
    ...(given.signed === "passkey" ? ({ signed: "passkey" } as const) : {}),
    ...(typeof given.amount === "string" ? { amount: given.amount } : {}),
    ...(given.editor === "counts" ? ({ editorCounts: true } as const) : {}),
  };
  return wanted.map(({ quorum, groups: [group, ...orGroups] }) => ({
    policy,
    group,
    quorum,
    ...(orGroups.length === 0 ? {} : { orGroups }),
    ...terms,
  }));
}

function wantedOf({ group, quorum, approvers }: Annotations): readonly Wanted[] | undefined {
  if (typeof approvers === "string") return parseApprovers(approvers);
  const count = quorumOf(quorum ?? "1");
  return typeof group !== "string" || count === undefined ? undefined : [{ quorum: count, groups: [group] }];
}

/** `2 of treasury and 1 of legal or compliance`: `or` binds closer than `and`, and without a number it is 1. */
function parseApprovers(text: string): readonly Wanted[] | undefined {
  const parts = text.split(" and ").map((part): Wanted | undefined => {
    const match = /^(?:(\S+) of )?(.+)$/.exec(part);
    const quorum = quorumOf(match?.[1] ?? "1");
    const groups = groupsOf(match?.[2]);
    return quorum === undefined || groups === undefined ? undefined : { quorum, groups };
  });
  return parts.every((part) => part !== undefined) && parts.length <= maxRequirements ? parts : undefined;
}

function approversFaults(text: string): string[] {
  const wanted = parseApprovers(text);
  if (wanted === undefined) {
    return [
      `@approvers: expected as in "2 of treasury and 1 of legal or compliance", at most ${maxRequirements} with at most ${maxGroups} groups each, quorums from 1 to ${maxQuorum}`,
    ];
  }
  // An approval is told apart by its policy and its first group.
  const firsts = wanted.map(({ groups: [first] }) => first);
  const repeated = firsts.find((first, index) => firsts.indexOf(first) !== index);
  return refuseIf(
    repeated !== undefined,
    `@approvers: \`${repeated ?? ""}\` comes first twice; ask for more of it, or name another group first`,
  );
}

function timeFaults({ expires, escalate_after: after, escalate_to: to, remind_after: remind, ...given }: Annotations) {
  const expiresMs = millisecondsOf(expires ?? defaultExpires);
  const afterMs = millisecondsOf(after);
  const remindMs = millisecondsOf(remind);
  const escalated = groupsOf(to);
  const asked = (wantedOf(given) ?? []).flatMap(({ groups }) => groups);
  return [
    ...refuseIf(expiresMs === undefined, "@expires: expected 30m, 24h or 7d, at most 365d"),
    ...refuseIf((after === undefined) !== (to === undefined), "@escalate_after and @escalate_to need each other"),
    ...refuseIf(typeof after === "string" && afterMs === undefined, "@escalate_after: expected 30m, 4h or 2d"),
    ...refuseIf(
      typeof to === "string" && escalated === undefined,
      '@escalate_to: expected groups, as in "managers" or "managers or directors"',
    ),
    ...refuseIf(
      escalated?.every((group) => asked.includes(group)) === true,
      "@escalate_to adds nobody: those groups are asked from the beginning",
    ),
    ...refuseIf(
      (afterMs ?? 0) >= (expiresMs ?? Infinity),
      "@escalate_after comes too late: the request expires before",
    ),
    ...refuseIf(typeof remind === "string" && remindMs === undefined, "@remind_after: expected 30m, 4h or 2d"),
    ...refuseIf((remindMs ?? 0) >= (expiresMs ?? Infinity), "@remind_after comes too late: the request expires before"),
    ...refuseIf(
      (expiresMs ?? 0) / (remindMs ?? Infinity) > maxReminders,
      `@remind_after: more than ${maxReminders} reminders until it expires`,
    ),
  ];
}

function groupsOf(text: string | null | undefined): readonly [string, ...string[]] | undefined {
  const [first, ...others] = text?.split(" or ") ?? [];
  if (first === undefined) return undefined;
  const groups = [first, ...others] as const;
  const areNames = groups.every((group) => groupNamePattern.test(group) && !words.has(group));
  return areNames && new Set(groups).size === groups.length && groups.length <= maxGroups ? [...groups] : undefined;
}

function quorumOf(text: string): number | undefined {
  return /^[1-9]\d{0,2}$/.test(text) && Number(text) <= maxQuorum ? Number(text) : undefined;
}

function millisecondsOf(value: string | null | undefined): number | undefined {
  const match = /^([1-9]\d{0,6})([mhd])$/.exec(value ?? "");
  const milliseconds = Number(match?.[1]) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
  return milliseconds <= maxMs ? milliseconds : undefined;
}

/** Whether an annotation that may be absent or without a value has none that is wrong. */
export function fits(value: string | null | undefined, pattern: RegExp): boolean {
  return value === undefined || value === null || pattern.test(value);
}

export function refuseIf(refused: boolean, message: string): string[] {
  return refused ? [message] : [];
}
