import type { ApprovalRequirement } from "../core/decision.ts";
import { kindOf } from "./signature.ts";
import type { KeyKind } from "./signature.ts";

/** Who decided what, and in which capacity. */
export type Vote = {
  readonly reviewer: string;
  readonly decision: "approve" | "deny";
  /** The groups that count: the reviewer's, or those of whom they decide for. */
  readonly groups: readonly string[];
  /** Everybody that it counts as: the person behind the account, and the person that they decide for. Absent: the reviewer. */
  readonly persons?: readonly string[];
  /** Milliseconds from the request's opening. Absent: at once. */
  readonly afterMs?: number;
  /** How it was signed; absent: with a key file. */
  readonly kind?: KeyKind | undefined;
  /** One of those whose vote this is has changed the call: it counts only where the policy says that editors do. */
  readonly edited?: true;
};

/** The groups whose members may decide so many milliseconds after the opening. Escalation adds some, and takes none away. */
export function groupsAfter(requirement: ApprovalRequirement, afterMs: number): readonly string[] {
  const { group, orGroups = [], escalate } = requirement;
  return [
    ...new Set([group, ...orGroups, ...(escalate !== undefined && afterMs >= escalate.afterMs ? escalate.to : [])]),
  ];
}

/**
 * The vote, marked where anybody that it counts as is among the editors: whoever changed a call would approve their own call, by whichever
 * account or delegation. A denial is a denial by whomever.
 */
export function markEditor(editors: readonly string[], vote: Vote): Vote {
  const names = [vote.reviewer, ...(vote.persons ?? [])];
  return names.some((name) => editors.includes(name)) ? { ...vote, edited: true } : vote;
}

/**
 * How many different people approve, for each requirement in turn; never more than its quorum where people count once only. Votes that
 * have a person in common are one: a second account, or a delegate beside whom they decide for, add nothing.
 */
export function tally(requirements: readonly ApprovalRequirement[], votes: readonly Vote[]): readonly number[] {
  const people = unite(votes.filter(({ decision }) => decision === "approve"));
  const fits = people.map((cast) =>
    requirements.map((requirement) => cast.some((vote) => isEligible(requirement, vote))),
  );
  if (!requirements.some(({ distinct }) => distinct === true)) {
    return requirements.map((_, index) => fits.filter((row) => row[index] === true).length);
  }
  return assign(requirements, fits);
}

/** Whether every requirement has its quorum. */
export function isMet(requirements: readonly ApprovalRequirement[], votes: readonly Vote[]): boolean {
  const counts = tally(requirements, votes);
  return requirements.length > 0 && requirements.every(({ quorum }, index) => (counts[index] ?? 0) >= quorum);
}

/** How many different people these votes are of. */
export function peopleOf(votes: readonly Vote[]): number {
  return unite(votes).length;
}

/** Whether a vote counts for a requirement at all. */
export function isEligible(requirement: ApprovalRequirement, vote: Vote): boolean {
  const { groups, afterMs = 0, edited } = vote;
  if (edited === true && requirement.editorCounts !== true) return false;
  return countsFor(requirement, vote) && groupsAfter(requirement, afterMs).some((group) => groups.includes(group));
}

/** Whether a signature of this kind is one that the requirement asks for. */
export function countsFor({ signed }: ApprovalRequirement, vote: { readonly kind?: KeyKind | undefined }): boolean {
  return signed === undefined || kindOf(vote) === "webauthn";
}

/** Votes with a person in common, directly or by way of others, together. */
function unite(votes: readonly Vote[]): readonly (readonly Vote[])[] {
  let groups: { readonly persons: ReadonlySet<string>; readonly votes: readonly Vote[] }[] = [];
  for (const vote of votes) {
    const persons = vote.persons ?? [vote.reviewer];
    const same = groups.filter((group) => persons.some((person) => group.persons.has(person)));
    const joined = {
      persons: new Set([...persons, ...same.flatMap((group) => [...group.persons])]),
      votes: [...same.flatMap((group) => group.votes), vote],
    };
    groups = [...groups.filter((group) => !same.includes(group)), joined];
  }
  // Who shares a person with an editor's vote is no better than that vote.
  return groups.map(({ votes: cast }) =>
    cast.some(({ edited }) => edited === true) ? cast.map((vote) => ({ ...vote, edited: true as const })) : cast,
  );
}

/**
 * The most places that can be filled where each person takes one: a bipartite matching by augmenting paths. All quorums are met by it
 * if they can be met at all.
 */
function assign(
  requirements: readonly ApprovalRequirement[],
  fits: readonly (readonly boolean[])[],
): readonly number[] {
  const places = requirements.flatMap(({ quorum }, requirement) => Array.from({ length: quorum }, () => requirement));
  const taken = new Map<number, number>();
  const seat = (person: number, tried: Set<number>): boolean =>
    places.some((requirement, place) => {
      if (tried.has(place) || fits[person]?.[requirement] !== true) return false;
      tried.add(place);
      const sitting = taken.get(place);
      if (sitting !== undefined && !seat(sitting, tried)) return false;
      taken.set(place, person);
      return true;
    });
  for (const person of fits.keys()) seat(person, new Set());
  return requirements.map(
    (_, index) => places.filter((requirement, place) => requirement === index && taken.has(place)).length,
  );
}

/** Something that is to happen to a request while nobody decides. */
export type DueEvent = {
  readonly kind: "reminded" | "escalated";
  readonly policy: string;
  readonly group: string;
  /** For `escalated`: whose members may decide from now on. */
  readonly to: readonly string[];
  /** Whom it is told: those whose members may decide by then, or, for `escalated`, from then on. */
  readonly tell: readonly string[];
  /** What makes it one event of its kind. */
  readonly key: string;
  /** Milliseconds from the opening at which it was due. */
  readonly afterMs: number;
};

/** What is due after so many milliseconds: every escalation, and of each requirement's reminders the latest. */
export function dueAfter(requirements: readonly ApprovalRequirement[], afterMs: number): readonly DueEvent[] {
  return requirements.flatMap((requirement): readonly DueEvent[] => {
    const { policy, group, escalate, remindMs } = requirement;
    const reminders = remindMs === undefined ? 0 : Math.floor(afterMs / remindMs);
    const key = `${policy} ${group}`;
    return [
      ...(escalate === undefined || afterMs < escalate.afterMs
        ? []
        : [
            {
              kind: "escalated",
              policy,
              group,
              to: escalate.to,
              tell: escalate.to,
              key,
              afterMs: escalate.afterMs,
            } as const,
          ]),
      ...(remindMs === undefined || reminders < 1
        ? []
        : [
            {
              kind: "reminded",
              policy,
              group,
              to: [],
              // Whom it is escalated to at that very moment is told so, and reminded the next time.
              tell: groupsAfter(requirement, reminders * remindMs - 1),
              key: `${key} ${reminders}`,
              afterMs: reminders * remindMs,
            } as const,
          ]),
    ];
  });
}

/** When, in milliseconds from the opening, something is due for the first time after `afterMs`; undefined: never before the expiry. */
export function nextDueAfter(
  requirements: readonly ApprovalRequirement[],
  afterMs: number,
  expiresMs: number,
): number | undefined {
  const times = requirements.flatMap(({ escalate, remindMs }) => [
    ...(escalate === undefined || escalate.afterMs <= afterMs ? [] : [escalate.afterMs]),
    ...(remindMs === undefined ? [] : [(Math.floor(afterMs / remindMs) + 1) * remindMs]),
  ]);
  const next = Math.min(...times);
  return next < expiresMs ? next : undefined;
}
