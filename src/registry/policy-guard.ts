import { CodedError } from "../core/errors.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Tx } from "../store/index.ts";
import { insertActivation, latestActivation, lockPolicies, storePolicySet } from "./policy-sets.ts";

export class ProposalError extends CodedError<
  "proposal_missing" | "proposal_closed" | "proposal_own" | "not_an_approver" | "proposal_approved"
> {}

/** Whose approval puts a team's policies in force. */
export type PolicyGuard = { readonly approvers: string; readonly quorum: number };

/** Sets the guard of a team's policies, or lifts it. Returns the event's id. */
export async function setPolicyGuard(
  tx: Tx,
  team: string,
  guard: PolicyGuard | undefined,
  by: string,
  now: Date,
): Promise<number | undefined> {
  await lockPolicies(tx, team);
  const { rows } = await tx.query<{ id: number }>(
    "insert into policy_guard (team, approvers, quorum, at, by_principal) values ($1, $2, $3, $4, $5) returning id",
    [team, guard?.approvers ?? null, guard?.quorum ?? null, now, by],
  );
  return rows[0]?.id;
}

export async function policyGuardOf(tx: Tx, team: string): Promise<PolicyGuard | undefined> {
  const { rows } = await tx.query<{ approvers: string | null; quorum: number | null }>(
    "select approvers, quorum from policy_guard where team = $1 order by id desc limit 1",
    [team],
  );
  const { approvers, quorum } = rows[0] ?? { approvers: null, quorum: null };
  return approvers === null || quorum === null ? undefined : { approvers, quorum };
}

/** An activation that waits for its approvers, or has had them. */
export type PolicyProposal = {
  readonly id: number;
  readonly team: string;
  readonly policySet: Digest;
  readonly approvers: string;
  readonly quorum: number;
  readonly at: Date;
  readonly by: string;
  readonly approvedBy: readonly string[];
  /** `void`: since it was made, other policies were put in force, or others have to approve. */
  readonly state: "open" | "in_force" | "void";
};

/** Proposes a set for a team whose policies are guarded. The caller holds no lock yet. */
export async function proposePolicySet(
  tx: Tx,
  team: string,
  document: Json,
  guard: PolicyGuard,
  by: string,
  now: Date,
): Promise<PolicyProposal> {
  await lockPolicies(tx, team);
  const digest = await storePolicySet(tx, document, now);
  const base = await latestActivation(tx, team);
  const { rows } = await tx.query<{ id: number }>(
    `insert into policy_proposal (team, policy_set, base, approvers, quorum, at, by_principal)
     values ($1, $2, $3, $4, $5, $6, $7) returning id`,
    [team, digest, base?.id ?? null, guard.approvers, guard.quorum, now, by],
  );
  return proposalById(tx, rows[0]?.id ?? 0);
}

/** Throws `proposal_missing`. */
export async function proposalById(tx: Tx, id: number): Promise<PolicyProposal> {
  const found = (await proposals(tx, "proposal.id = $1", [id]))[0];
  if (found === undefined) throw new ProposalError("proposal_missing", `no proposed activation ${id}`);
  return found;
}

/** Proposals of a team that wait, newest first. */
export async function openProposals(tx: Tx, team: string): Promise<readonly PolicyProposal[]> {
  const found = await proposals(tx, "proposal.team = $1", [team]);
  return found.filter(({ state }) => state === "open");
}

async function proposals(tx: Tx, where: string, values: readonly unknown[]): Promise<readonly PolicyProposal[]> {
  const { rows } = await tx.query<PolicyProposal>(
    `select proposal.id, proposal.team, proposal.policy_set as "policySet", proposal.approvers, proposal.quorum, proposal.at,
       proposal.by_principal as by,
       array(select principal from policy_proposal_approval where proposal = proposal_id.id order by at) as "approvedBy",
       case when exists (select from policy_activation where proposal = proposal_id.id) then 'in_force'
            when coalesce((select max(id) from policy_activation where team = proposal.team), 0) <> coalesce(proposal.base, 0) then 'void'
            when (select (guard.approvers, guard.quorum) is distinct from (proposal.approvers, proposal.quorum)
                  from policy_guard guard where guard.team = proposal.team order by guard.id desc limit 1) then 'void'
            else 'open' end as state
     from policy_proposal proposal, lateral (select proposal.id) as proposal_id
     where ${where} order by proposal.id desc limit 100`,
    values,
  );
  return rows;
}

/**
 * One member's approval. The set comes into force with the one that meets the quorum: then `activation` is its event. People count, not
 * accounts, and only who is still in the group. Throws `proposal_missing`, `proposal_closed`, `proposal_own` (nobody approves what they
 * proposed), `not_an_approver` or `proposal_approved` (by the same person).
 */
export async function approveProposal(
  tx: Tx,
  id: number,
  principal: { readonly id: string; readonly groups: readonly string[] },
  now: Date,
): Promise<{ readonly proposal: PolicyProposal; readonly activation: number | undefined }> {
  const { team } = await proposalById(tx, id);
  await lockPolicies(tx, team);
  const proposal = await proposalById(tx, id);
  if (proposal.state !== "open") {
    const why =
      proposal.state === "void" ? "since then, other policies or another guard were put in force" : "it is in force";
    throw new ProposalError("proposal_closed", `the proposed activation ${id} cannot be approved: ${why}`);
  }
  const people = await peopleOf(tx, [principal.id, proposal.by, ...proposal.approvedBy]);
  const personOf = (account: string): string => people.get(account)?.person ?? account;
  const person = personOf(principal.id);
  if (personOf(proposal.by) === person)
    throw new ProposalError("proposal_own", "nobody approves an activation that they proposed");
  if (!principal.groups.includes(proposal.approvers))
    throw new ProposalError("not_an_approver", `\`${principal.id}\` is not in group \`${proposal.approvers}\``);
  if (proposal.approvedBy.some((account) => personOf(account) === person))
    throw new ProposalError("proposal_approved", `the person of \`${principal.id}\` has approved it before`);
  await tx.query("insert into policy_proposal_approval (proposal, principal, at) values ($1, $2, $3)", [
    id,
    principal.id,
    now,
  ]);
  const members = proposal.approvedBy.filter((account) => people.get(account)?.groups.includes(proposal.approvers));
  const approved = new Set([person, ...members.map(personOf)]).size >= proposal.quorum;
  const activation = approved ? await insertActivation(tx, team, proposal.policySet, proposal.by, now, id) : undefined;
  return { proposal: await proposalById(tx, id), activation };
}

/** The persons behind accounts, and their groups, as they are now. */
async function peopleOf(
  tx: Tx,
  accounts: readonly string[],
): Promise<ReadonlyMap<string, { readonly person: string; readonly groups: readonly string[] }>> {
  const { rows } = await tx.query<{ id: string; person: string; groups: string[] }>(
    "select id, coalesce(person, id) as person, groups from principal where id = any($1)",
    [accounts],
  );
  return new Map(rows.map((row) => [row.id, row]));
}
