import type { Barred } from "../core/decision.ts";
import type { ApprovalId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { covers, decidingGroups, mandatesOf } from "./delegations.ts";
import type { Delegation, Mandate } from "./delegations.ts";
import { editorNames } from "./editors.ts";
import { ApprovalError } from "./errors.ts";
import type { ApprovalRequest } from "./requests.ts";
import { groupsAfter, markEditor } from "./routing.ts";
import type { Vote } from "./routing.ts";
import { barOf } from "./barred.ts";
import type { KeyKind } from "./signature.ts";
import { barredFrom, barText } from "./separation.ts";

/** In which capacity somebody decides: as themselves, or for somebody else. */
export type Capacity = {
  /** The person behind the account. */
  readonly person: string;
  /** The groups that the decision counts for, of those that the request asks for. */
  readonly groups: readonly string[];
  /** Absent: they decide as themselves. */
  readonly mandate?: Mandate;
};

/**
 * In which capacity `reviewer` may decide on a request now. Who is in a group that is asked decides as themselves; only who is in none
 * decides for somebody, and for one only. Throws `self_approval`, `not_in_group`, and `decided_before` where the same person has decided by
 * another account, or for whom they would.
 */
export async function capacityOf(
  tx: Tx,
  request: ApprovalRequest,
  reviewer: string,
  { capacities: earlier, barred }: Pick<Table, "capacities" | "barred">,
  now: Date,
): Promise<Capacity> {
  const { person, groups } = await personOf(tx, reviewer, request.team);
  const bar = barOf(barred, [person, reviewer]);
  if (bar !== undefined) throw new ApprovalError("self_approval", barText(bar));
  const before = earlier.find((one) => one.reviewer !== reviewer && one.own.includes(person));
  if (before !== undefined)
    throw new ApprovalError("decided_before", `the same person decided as \`${before.reviewer}\` before`);
  const wanted = wantedAt(request, now);
  const own = wanted.filter((group) => groups.includes(group));
  if (own.length > 0) return { person, groups: own };
  const mandates = (await mandatesOf(tx, reviewer, request, now)).filter(
    (one) =>
      one.groups.some((group) => wanted.includes(group)) && barOf(barred, [one.person, one.delegator]) === undefined,
  );
  const mandate = mandates.find((one) => !earlier.some(({ persons }) => persons.includes(one.person)));
  if (mandate !== undefined) {
    return { person, groups: wanted.filter((group) => mandate.groups.includes(group)), mandate };
  }
  const [spent] = mandates;
  if (spent !== undefined)
    throw new ApprovalError(
      "decided_before",
      `\`${spent.delegator}\`, for whom you would decide, has decided or been decided for`,
    );
  throw new ApprovalError("not_in_group", `deciding needs a member of ${shownOr(wanted)}${laterText(request, now)}`);
}

/** What a capacity makes a decision count as. */
export function votePersons(capacity: Capacity): readonly string[] {
  return [capacity.person, ...(capacity.mandate === undefined ? [] : [capacity.mandate.person])];
}

/** A stored decision's capacity, as it was and as it is now. */
export type StoredCapacity = {
  /** The decision's. */
  readonly id: number;
  readonly reviewer: string;
  /** The person behind the account, then and now. */
  readonly own: readonly string[];
  /** Everybody that it counts as: these, and for whom they decided. */
  readonly persons: readonly string[];
  /** The groups that it counts for: those that were recorded, as far as the membership still is. */
  readonly groups: readonly string[];
  readonly afterMs: number;
  readonly mandate: Delegation | undefined;
  /** As it was recorded; null in rows from before it was. */
  readonly recorded: {
    readonly person: string | null;
    readonly groups: readonly string[] | null;
    readonly forPerson: string | null;
    readonly at: Date;
  };
};

type Row = {
  readonly id: number;
  readonly reviewer: string;
  readonly at: Date;
  readonly personThen: string | null;
  readonly groupsThen: readonly string[] | null;
  readonly person: string;
  readonly groups: readonly string[];
  readonly delegation: string | null;
  readonly delegator: string | null;
  readonly delegate: string | null;
  readonly team: string | null;
  readonly tool: string | null;
  readonly maxAmount: number | null;
  readonly reason: string | null;
  readonly from: Date | null;
  readonly until: Date | null;
  readonly delegatedAt: Date | null;
  readonly by: string | null;
  readonly revokedAt: Date | null;
  readonly forPerson: string | null;
  readonly delegatorPerson: string | null;
  readonly delegatorGroups: readonly string[] | null;
};

/** The capacities of all who decided on a request, in the order of their decisions. */
export async function capacitiesOf(
  tx: Tx,
  request: Pick<ApprovalRequest, "id" | "openedAt">,
): Promise<readonly StoredCapacity[]> {
  return (await rowsOf(tx, request.id)).map((row) => capacityOfRow(row, request.openedAt));
}

/** Who has decided on a request, and who may not: read once for all that is asked of it. */
export type Table = {
  /** Of all decisions, those that fell too. */
  readonly capacities: readonly StoredCapacity[];
  readonly barred: readonly Barred[];
  /** Whose change is in the call, accounts and persons. */
  readonly editors: readonly string[];
  /**
   * The votes that hold of these approvals, each with how it was signed, from the record alone: whoever is barred, then or now, has
   * none, nor has a delegate whose delegation was not in force for this request when they decided.
   */
  readonly votes: (approved: ReadonlyMap<number, KeyKind>) => readonly Vote[];
};

/** `subject`: the names of whom the run acts for, where they are at hand. */
export async function tableOf(tx: Tx, request: ApprovalRequest, subject: readonly string[]): Promise<Table> {
  const [rows, now] = [await rowsOf(tx, request.id), await barredFrom(tx, request.run, subject)];
  const editors = await editorNames(tx, request);
  const barred = [...request.barred, ...now];
  const barredNames = [...barred.map(({ person }) => person), ...subject];
  return {
    capacities: rows.map((row) => capacityOfRow(row, request.openedAt)),
    barred,
    editors,
    votes: (approved) =>
      rows.flatMap((row): readonly Vote[] => {
        const kind = approved.get(row.id);
        if (kind === undefined || row.at < request.openedAt) return [];
        const { persons, groups, afterMs, mandate } = capacityOfRow(row, request.openedAt);
        const names = [row.reviewer, ...persons, ...(mandate === undefined ? [] : [mandate.delegator])];
        if (names.some((name) => barredNames.includes(name))) return [];
        if (mandate !== undefined && (mandate.delegate !== row.reviewer || !covers(mandate, request, row.at)))
          return [];
        return [markEditor(editors, { reviewer: row.reviewer, decision: "approve", groups, persons, afterMs, kind })];
      }),
  };
}

function capacityOfRow(row: Row, openedAt: Date): StoredCapacity {
  const mandate = mandateOf(row);
  const groupsNow = mandate === undefined ? row.groups : (row.delegatorGroups ?? []);
  const own = [...new Set([row.person, row.personThen ?? row.person])];
  return {
    id: row.id,
    reviewer: row.reviewer,
    own,
    persons: [...own, ...[row.forPerson, row.delegatorPerson].filter((person) => person !== null)],
    groups: row.groupsThen === null ? groupsNow : groupsNow.filter((group) => row.groupsThen?.includes(group)),
    afterMs: row.at.getTime() - openedAt.getTime(),
    mandate,
    recorded: { person: row.personThen, groups: row.groupsThen, forPerson: row.forPerson, at: row.at },
  };
}

function mandateOf(row: Row): Delegation | undefined {
  const { delegation: id, delegator, delegate, from, until, delegatedAt: at, by } = row;
  if (
    id === null ||
    delegator === null ||
    delegate === null ||
    from === null ||
    until === null ||
    at === null ||
    by === null
  )
    return undefined;
  const { team, tool, maxAmount, reason, revokedAt } = row;
  return { id, delegator, delegate, team, tool, maxAmount, reason: reason ?? "", from, until, at, by, revokedAt };
}

async function rowsOf(tx: Tx, request: ApprovalId): Promise<readonly Row[]> {
  const { rows } = await tx.query<Row>(
    `select v.id, v.reviewer, v.at, v.person as "personThen", v.groups as "groupsThen", coalesce(p.person, p.id) as person, ${decidingGroups("p", "q.team")} as groups, v.delegation,
       g.delegator, g.delegate, g.team, g.tool, g.max_amount as "maxAmount", g.reason, g.from_at as "from", g.until_at as "until",
       g.at as "delegatedAt", g.by_principal as by, g.revoked_at as "revokedAt",
       v.for_person as "forPerson", coalesce(gp.person, gp.id) as "delegatorPerson", ${decidingGroups("gp", "q.team")} as "delegatorGroups"
     from approval_decision v join approval_request q on q.id = v.request join principal p on p.id = v.reviewer
     left join approval_delegation g on g.id = v.delegation
     left join principal gp on gp.id = g.delegator
     where v.request = $1 order by v.id`,
    [request],
  );
  return rows;
}

async function personOf(
  tx: Tx,
  id: string,
  team: string,
): Promise<{ readonly person: string; readonly groups: readonly string[] }> {
  const { rows } = await tx.query<{ person: string; groups: string[] }>(
    `select coalesce(person, id) as person, ${decidingGroups("principal", "$2")} as groups from principal where id = $1`,
    [id, team],
  );
  return rows[0] ?? { person: id, groups: [] };
}

/** The groups whose members may decide at a time, for any of the requirements. */
export function wantedAt(request: Pick<ApprovalRequest, "requirements" | "openedAt">, at: Date): readonly string[] {
  const afterMs = at.getTime() - request.openedAt.getTime();
  return [...new Set(request.requirements.flatMap((requirement) => groupsAfter(requirement, afterMs)))];
}

function laterText({ requirements, openedAt }: ApprovalRequest, now: Date): string {
  const later = requirements.flatMap(({ escalate }) =>
    escalate === undefined || openedAt.getTime() + escalate.afterMs <= now.getTime() ? [] : [escalate],
  );
  return later
    .map(({ afterMs, to }) => `, or from ${new Date(openedAt.getTime() + afterMs).toISOString()} of ${shownOr(to)}`)
    .join("");
}

function shownOr(groups: readonly string[]): string {
  return groups.map((group) => `\`${group}\``).join(" or ");
}
