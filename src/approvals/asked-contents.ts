import type { ApprovalId, Digest } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";

/** Where the contents of what a request is about are, by their digests. */
export type AskedContents = {
  readonly request: ApprovalId;
  readonly kind: string;
  readonly name: string;
  readonly release: Digest;
  /** The model's answer that asked for the call, and the how-manyth of its calls it is, from 0. */
  readonly asking: Digest | null;
  readonly callIndex: number | null;
  /** The model's answer that is asked about itself. */
  readonly answer: Digest | null;
  /** Arguments, as a reviewer changed them before, and as policies make them. */
  readonly edited: Digest | null;
  readonly effective: Digest | null;
};

/** One for each of the requests that there is. One round trip. */
export async function askedContents(tx: Tx, requests: readonly ApprovalId[]): Promise<readonly AskedContents[]> {
  if (requests.length === 0) return [];
  const { rows } = await tx.query<AskedContents>(
    `select request.id as request, step.kind, step.name, run.release, asking.result as asking, step.call_index as "callIndex",
       decided.answer, edit.arguments as edited, decided.effective
     from approval_request request
     join run on run.id = request.run
     join step on step.run = request.run and step.seq = request.seq
     left join step asking on asking.run = step.run and asking.seq = step.asked_by
     left join approval_edit edit on edit.successor = request.id
     left join lateral (
       select decision.effective, decision.facts->'response'->>'answer' as answer from decision
       where decision.run = request.run and decision.seq = request.seq and decision.approval = request.id
         and decision.outcome = 'require_approval'
       order by decision.n limit 1) decided on true
     where request.id = any($1::text[])`,
    [requests],
  );
  return rows;
}
