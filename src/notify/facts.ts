import type { ApprovalRequirement } from "../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { NoticeEvent, NoticeLevel } from "../core/notice.ts";
import { getPayload } from "../store/index.ts";
import type { PayloadKeys, Tx } from "../store/index.ts";
import type { TakenNotice } from "./outbox.ts";

/** What a notice may say of a request, at its receiver's level. Nothing in it changes after the event, so every attempt says the same. */
export type NoticeFacts = {
  readonly approval: ApprovalId;
  readonly event: NoticeEvent;
  readonly team: string;
  /** What the request was after the event. */
  readonly state: string;
  readonly openedAt: string;
  readonly expiresAt: string;
  /** Absent at level `link`. */
  readonly summary?: {
    readonly agent: string;
    readonly run: RunId;
    readonly seq: number;
    readonly tool: string;
    readonly requestedBy: string;
    /** SHA-256 of the action, as reviewers sign it. */
    readonly action: Digest;
    readonly needs: readonly { readonly group: string; readonly quorum: number; readonly policy: string }[];
    /** The groups that are reminded, or that it is escalated to; empty: all that are asked. */
    readonly concerns: readonly string[];
    readonly decidedBy: readonly { readonly reviewer: string; readonly decision: string }[];
  };
  /** At level `full`: the action as text, as its reviewers read it. */
  readonly rendered?: string;
};

type Row = {
  readonly team: string;
  readonly agent: string;
  readonly run: RunId;
  readonly seq: number;
  readonly name: string;
  readonly action: Digest;
  readonly rendered: Digest;
  readonly requirements: readonly ApprovalRequirement[];
  readonly requestedBy: string;
  readonly openedAt: Date;
  readonly expiresAt: Date;
  /** As it is now. */
  readonly state: string;
  /** Of its run. */
  readonly erased: boolean;
  readonly decidedBy: readonly { readonly reviewer: string; readonly decision: string }[] | null;
};

/** Also whether the request still waits. Throws StoreErrors where `full` contents cannot be read. */
export async function factsOf(
  tx: Tx,
  keys: PayloadKeys,
  notice: TakenNotice & { readonly request: ApprovalId; readonly event: NoticeEvent },
  level: NoticeLevel,
): Promise<{ readonly facts: NoticeFacts; readonly pending: boolean }> {
  const { rows } = await tx.query<Row>(
    `select request.team, run.agent, request.run, request.seq, request.name, request.action, request.rendered, request.requirements,
       run.requested_by as "requestedBy", request.opened_at as "openedAt", request.expires_at as "expiresAt", request.state, run.contents_erased_at is not null as erased,
       (select json_agg(json_build_object('reviewer', reviewer, 'decision', decision) order by id)
        from approval_decision where approval_decision.request = request.id) as "decidedBy"
     from approval_request request join run on run.id = request.run where request.id = $1`,
    [notice.request],
  );
  const [row] = rows;
  if (row === undefined) throw new TypeError("a notice refers to its request");
  const facts: NoticeFacts = {
    approval: notice.request,
    event: notice.event,
    team: row.team,
    state: notice.requestState ?? row.state,
    openedAt: row.openedAt.toISOString(),
    expiresAt: row.expiresAt.toISOString(),
    ...(level === "link" ? {} : { summary: summaryOf(row, notice) }),
    ...(level === "full" ? { rendered: await renderedOf(tx, keys, row) } : {}),
  };
  return { facts, pending: row.state === "pending" };
}

/** Of a run whose contents were erased since, there is none. */
async function renderedOf(tx: Tx, keys: PayloadKeys, { rendered, erased }: Row): Promise<string> {
  return erased ? "ERASED" : ((await getPayload(tx, keys, rendered)) as string);
}

function summaryOf(row: Row, { event, groups }: Pick<TakenNotice, "event" | "groups">) {
  return {
    agent: row.agent,
    run: row.run,
    seq: row.seq,
    tool: row.name,
    requestedBy: row.requestedBy,
    action: row.action,
    needs: row.requirements.map(({ group, quorum, policy }) => ({ group, quorum, policy })),
    concerns: groups,
    // Before the decision there are first signatures of a quorum, which come after the event: they would differ between attempts.
    decidedBy: event === "decided" ? (row.decidedBy ?? []) : [],
  };
}
