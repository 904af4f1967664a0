import type { StandingTerms } from "../core/standing-grant.ts";
import type { Tx } from "../store/index.ts";
import type { Capacity } from "./capacity.ts";
import { decidingGroups, mandatesTo } from "./delegations.ts";
import type { Delegation } from "./delegations.ts";
import { ApprovalError } from "./errors.ts";
import type { Vote } from "./routing.ts";
import type { SignedStatement } from "./signature.ts";
import { storedKeyColumns } from "./signed-by.ts";
import type { StoredKey } from "./signed-by.ts";
import { isWithinDelegation, standingVote } from "./standing-terms.ts";

/** By what it was approved for somebody else. */
export type StandingMandate = Pick<Delegation, "id" | "delegator" | "delegate" | "team" | "tool" | "maxAmount"> & {
  readonly from: Date;
  readonly until: Date;
  readonly revokedAt: Date | null;
  /** The person behind the delegator, then and now. */
  readonly person: string;
  readonly personNow: string;
};

export type StandingApproval = StoredKey &
  SignedStatement & {
    readonly reviewer: string;
    /** The person behind the account, then and now. */
    readonly person: string;
    readonly personNow: string;
    /** Those that it counts for, then; and those that the reviewer, or for whom they approved it, is in now. */
    readonly groups: readonly string[];
    readonly groupsNow: readonly string[];
    readonly at: Date;
    /** Null: they approved it as themselves. */
    readonly mandate: StandingMandate | null;
  };

type Row = Omit<StandingApproval, "mandate" | "kind"> & {
  readonly assertion: object | null;
  readonly mandate: (Omit<StandingMandate, "from" | "until" | "revokedAt"> & Times) | null;
};
type Times = { readonly from: string; readonly until: string; readonly revokedAt: string | null };

/** Who signed it, in the order in which they did. */
export async function standingApprovals(tx: Tx, id: string): Promise<readonly StandingApproval[]> {
  const { rows } = await tx.query<Row>(
    `select a.reviewer, a.person, a.groups, a.statement, a.key_id as "keyId", a.signature, a.assertion, a.at, coalesce(p.person, p.id) as "personNow",
       case when a.delegation is null then ${decidingGroups("p", "s.team")} else ${decidingGroups("o", "s.team")} end as "groupsNow",
       case when a.delegation is null then null else json_build_object('id', d.id, 'delegator', d.delegator, 'delegate', d.delegate,
         'team', d.team, 'tool', d.tool, 'maxAmount', d.max_amount, 'from', d.from_at, 'until', d.until_at, 'revokedAt', d.revoked_at,
         'person', a.for_person, 'personNow', coalesce(o.person, o.id)) end as mandate, ${storedKeyColumns}
     from standing_approval a join standing_grant s on s.id = a.grant_id join reviewer_key k on k.key_id = a.key_id join principal p on p.id = a.reviewer
       left join approval_delegation d on d.id = a.delegation left join principal o on o.id = d.delegator
     where a.grant_id = $1 order by a.at, a.reviewer`,
    [id],
  );
  return rows.map(({ assertion, mandate, ...row }) => {
    const signed = assertion === null ? row : { ...row, ...assertion, kind: "webauthn" };
    return { ...signed, mandate: mandate === null ? null : mandateOf(mandate) } as StandingApproval;
  });
}

function mandateOf({ from, until, revokedAt, ...rest }: NonNullable<Row["mandate"]>): StandingMandate {
  const ended = revokedAt === null ? null : new Date(revokedAt);
  return { ...rest, from: new Date(from), until: new Date(until), revokedAt: ended };
}

/** Keeps the delegations that a grant was approved by from being ended until the transaction ends. */
export async function holdMandates(tx: Tx, id: string): Promise<void> {
  await tx.query(
    `select from approval_delegation where id in (select delegation from standing_approval where grant_id = $1) order by id for share`,
    [id],
  );
}

/**
 * Everybody that an approval is of, by account and person: none of these may be barred from a call, and those whose approvals have one in
 * common are one person.
 */
export function namesOf({ reviewer, mandate, ...one }: StandingApproval): readonly string[] {
  return [reviewer, ...personsOf({ ...one, mandate }), ...(mandate === null ? [] : [mandate.delegator])];
}

function personsOf({ person, personNow, mandate }: Pick<StandingApproval, "person" | "personNow" | "mandate">) {
  return [person, personNow, ...(mandate === null ? [] : [mandate.person, mandate.personNow])];
}

/** What an approval counts as now: for the groups that it was given for, as far as the membership still is. */
export function voteNow(one: StandingApproval): Vote {
  return standingVote(
    one.reviewer,
    personsOf(one),
    one.groups.filter((group) => one.groupsNow.includes(group)),
  );
}

/** Whether an approval for somebody else stands, now: by a delegation to its reviewer for such terms, that is not ended. */
export function mandateHolds(terms: StandingTerms, { reviewer, mandate, at }: StandingApproval): boolean {
  if (mandate === null) return true;
  return mandate.delegate === reviewer && mandate.revokedAt === null && isWithinDelegation(terms, mandate, at);
}

/**
 * In which capacity `reviewer` may approve terms now. Who is in a group that is asked does so as themselves; only who is in none does it for
 * somebody. Throws `not_in_group`, and `decided_before` where the same person has approved it, or for whom they would.
 */
export async function standingCapacity(
  tx: Tx,
  terms: StandingTerms,
  reviewer: string,
  before: readonly StandingApproval[],
  now: Date,
): Promise<Capacity> {
  const { rows } = await tx.query<{ person: string; groups: string[] }>(
    `select coalesce(person, id) as person, ${decidingGroups("principal", "$2")} as groups from principal where id = $1`,
    [reviewer, terms.team],
  );
  const { person, groups: all } = rows[0] ?? { person: reviewer, groups: [] };
  const same = before.find((one) => one.reviewer === reviewer || personsOf(one).includes(person));
  if (same !== undefined) {
    const who = same.reviewer === reviewer ? "you have" : `the same person has, as \`${same.reviewer}\`,`;
    throw new ApprovalError("decided_before", `${who} approved it before: somebody else has to`);
  }
  const wanted = [...new Set(terms.requirements.map(({ group }) => group))];
  const own = wanted.filter((group) => all.includes(group));
  if (own.length > 0) return { person, groups: own };
  const mandates = (await mandatesTo(tx, reviewer, terms.team, now)).filter(
    (one) => one.groups.some((group) => wanted.includes(group)) && one.person !== person,
  );
  const open = mandates.filter((one) => one.revokedAt === null && isWithinDelegation(terms, one, now));
  const mandate = open.find((one) => !before.some((earlier) => personsOf(earlier).includes(one.person)));
  if (mandate !== undefined)
    return { person, groups: wanted.filter((group) => mandate.groups.includes(group)), mandate };
  const [spent] = open;
  if (spent !== undefined)
    throw new ApprovalError(
      "decided_before",
      `\`${spent.delegator}\`, for whom you would approve it, has, or it was for them`,
    );
  throw new ApprovalError(
    "not_in_group",
    `it takes a member of ${wanted.map((group) => `\`${group}\``).join(" or ")}${
      mandates.length === 0 ? "" : ": no delegation to you is for such a grant, for its whole sum and until its end"
    }`,
  );
}
