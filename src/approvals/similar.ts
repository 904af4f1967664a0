import type { ApprovalId, RunId } from "../core/ids.ts";
import type { ApprovalState } from "../core/states.ts";
import type { Tx } from "../store/index.ts";

export type SimilarDecisions = {
  /** How many requests of the same team and agent for the same tool ended so. */
  readonly states: Readonly<Partial<Record<ApprovalState, number>>>;
  readonly reviewers: readonly { readonly reviewer: string; readonly approved: number; readonly denied: number }[];
  /** The last ones that people decided, newest first. */
  readonly last: readonly {
    readonly id: ApprovalId;
    readonly run: RunId;
    readonly state: ApprovalState;
    readonly decidedAt: Date;
    readonly reviewers: readonly string[];
  }[];
};

const newest = 500;
const maxReviewers = 10;
const shownLast = 5;

/**
 * What people said to calls like this one: the same tool, asked for by the same team's agent, among the newest 500 requests before it.
 */
export async function similarDecisions(tx: Tx, id: ApprovalId): Promise<SimilarDecisions> {
  const alike = `with alike as materialized (
      select other.id, other.run, other.state, other.decided_at
      from approval_request asked join run on run.id = asked.run
      join approval_request other on other.team = asked.team and other.name = asked.name and other.id < asked.id
      join run origin on origin.id = other.run and origin.agent = run.agent
      where asked.id = $1 order by other.id desc limit ${newest})`;
  const [states, reviewers, last] = await Promise.all([
    tx.query<{ state: ApprovalState; count: number }>(`${alike} select state, count(*) from alike group by state`, [
      id,
    ]),
    tx.query<SimilarDecisions["reviewers"][number]>(
      `${alike} select d.reviewer, count(*) filter (where d.decision = 'approve') as approved,
         count(*) filter (where d.decision = 'deny') as denied
       from alike join approval_decision d on d.request = alike.id
       group by d.reviewer order by count(*) desc, d.reviewer limit ${maxReviewers}`,
      [id],
    ),
    tx.query<SimilarDecisions["last"][number]>(
      `${alike} select alike.id, alike.run, alike.state, alike.decided_at as "decidedAt",
         array(select reviewer from approval_decision d where d.request = alike.id group by reviewer order by min(d.id)) as reviewers
       from alike where decided_at is not null order by alike.id desc limit ${shownLast}`,
      [id],
    ),
  ]);
  return {
    states: Object.fromEntries(states.rows.map(({ state, count }) => [state, count])),
    reviewers: reviewers.rows,
    last: last.rows,
  };
}
