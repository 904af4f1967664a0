import type { Barred } from "../core/decision.ts";
import type { Tx } from "../store/index.ts";
import { tableOf, wantedAt } from "./capacity.ts";
import { covers, mayDecide } from "./delegations.ts";
import type { Delegation } from "./delegations.ts";
import type { ApprovalRequest } from "./requests.ts";
import { groupsAfter, isEligible, markEditor, tally } from "./routing.ts";
import { barOf } from "./barred.ts";
import { approvalsThatHold, decisionsOf, isFallen } from "./stored-decisions.ts";

export type Eligibility = {
  readonly requirements: readonly {
    readonly policy: string;
    readonly quorum: number;
    /** How many different people have approved it so far. */
    readonly approvals: number;
    /** Whose members may decide now. */
    readonly groups: readonly string[];
    /** Whose members may decide too from a time on. */
    readonly later?: { readonly groups: readonly string[]; readonly from: Date };
  }[];
  /** Who may decide now and has not, in the order of their ids; with a delegation, only by it. Cut after `maxShown`. */
  readonly people: readonly {
    readonly id: string;
    readonly groups: readonly string[];
    readonly insteadOf?: string;
  }[];
  /** Whether there are more than are listed. */
  readonly more: boolean;
  readonly barred: readonly Barred[];
};

const maxShown = 50;

type Candidate = { readonly id: string; readonly person: string; readonly groups: readonly string[] };
type CandidateMandate = Delegation &
  Candidate & {
    readonly person: string;
    readonly delegatorPerson: string;
    readonly delegatorGroups: readonly string[];
  };

/** Who may decide on a request now, and who later. For people to read: `decideRequest` looks again. */
export async function whoMayDecide(tx: Tx, request: ApprovalRequest, now: Date): Promise<Eligibility> {
  const wanted = wantedAt(request, now);
  const { barred, editors, votes: votesOf } = await tableOf(tx, request, []);
  const decisions = await decisionsOf(tx, request.id);
  const held = approvalsThatHold(request, decisions);
  const votes = votesOf(held);
  const counts = tally(request.requirements, votes);
  const spent = new Set(votes.flatMap(({ persons = [] }) => persons));
  const isFree = ({ id, person }: Candidate): boolean =>
    barOf(barred, [id, person]) === undefined &&
    !decisions.some((one) => one.reviewer === id && !isFallen(one)) &&
    !spent.has(person);
  const afterMs = now.getTime() - request.openedAt.getTime();
  // Whoever changed the call counts only where a policy says so, by whatever account or delegation.
  const wouldCount = (reviewer: string, groups: readonly string[], persons: readonly string[]): boolean => {
    const vote = markEditor(editors, { reviewer, decision: "approve", groups, persons, afterMs, kind: "webauthn" });
    return request.requirements.some((requirement) => isEligible(requirement, vote));
  };
  const members = (await membersOf(tx, request.team, wanted)).filter(
    (one) => isFree(one) && wouldCount(one.id, one.groups, [one.person]),
  );
  const delegates = (await delegatesOf(tx, request.team, wanted, now)).filter(
    (one) =>
      isFree(one) &&
      !one.groups.some((group) => wanted.includes(group)) &&
      covers(one, request, now) &&
      barOf(barred, [one.delegator, one.delegatorPerson]) === undefined &&
      !spent.has(one.delegatorPerson) &&
      wouldCount(one.id, one.delegatorGroups, [one.person, one.delegatorPerson]),
  );
  const firsts = delegates.filter(({ id }, index) => delegates.findIndex((one) => one.id === id) === index);
  const people = [
    ...members.map(({ id, groups }) => ({ id, groups: wanted.filter((group) => groups.includes(group)) })),
    ...firsts.map(({ id, delegator }) => ({ id, groups: [], insteadOf: delegator })),
  ];
  return {
    requirements: request.requirements.map((requirement, index) => {
      const { policy, quorum, escalate } = requirement;
      const isLater = escalate !== undefined && afterMs < escalate.afterMs;
      return {
        policy,
        quorum,
        approvals: counts[index] ?? 0,
        groups: groupsAfter(requirement, afterMs),
        ...(isLater
          ? { later: { groups: escalate.to, from: new Date(request.openedAt.getTime() + escalate.afterMs) } }
          : {}),
      };
    }),
    people: people.slice(0, maxShown),
    more: people.length > maxShown,
    barred: request.barred,
  };
}

async function membersOf(tx: Tx, team: string, groups: readonly string[]): Promise<readonly Candidate[]> {
  const { rows } = await tx.query<Candidate>(
    `select id, coalesce(person, id) as person, groups from principal
     where groups && $1 and ${mayDecide("principal", "$2")} order by id limit 500`,
    [groups, team],
  );
  return rows;
}

async function delegatesOf(
  tx: Tx,
  team: string,
  groups: readonly string[],
  now: Date,
): Promise<readonly CandidateMandate[]> {
  const { rows } = await tx.query<CandidateMandate>(
    `select p.id, coalesce(p.person, p.id) as person, p.groups, d.delegator, coalesce(g.person, g.id) as "delegatorPerson", g.groups as "delegatorGroups",
       d.team, d.tool, d.max_amount as "maxAmount", d.from_at as "from", d.until_at as "until", d.revoked_at as "revokedAt"
     from approval_delegation d join principal p on p.id = d.delegate join principal g on g.id = d.delegator
     where d.from_at <= $2 and d.until_at > $2 and d.revoked_at is null and g.groups && $1 and ${mayDecide("g", "$3")} and ${mayDecide("p", "$3")}
     order by p.id, d.id limit 500`,
    [groups, now, team],
  );
  return rows;
}
