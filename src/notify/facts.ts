import type { ApprovalRequirement } from "../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { NoticeEvent, NoticeLevel } from "../core/notice.ts";
import { getPayload } from "../store/index.ts";
import type { PayloadKeys, Tx } from "../store/index.ts";
import type { TakenNotice } from "./outbox.ts";

/**
 * What a notice may say of a request, or of a call whose outcome is unknown, at its receiver's level. Nothing in it changes after the event,
 * so every attempt says the same.
 */
export type NoticeFacts = {
  readonly approval: ApprovalId;
  readonly event: NoticeEvent;
  readonly team: string;
  /** What the request was after the event. */
  readonly state: string;
  readonly openedAt: string;
  readonly expiresAt: string;
  /** Of an end: when it had been approved or denied. Null: nobody did, or it has not ended. */
  readonly decidedAt: string | null;
  /** Absent at level `link`. */
  readonly summary?: {
    readonly agent: string;
    readonly run: RunId;
    readonly seq: number;
    readonly tool: string;
    readonly requestedBy: string;
    /** SHA-256 of the action, as reviewers sign it. */
    readonly action: Digest;
    readonly needs: readonly Needed[];
    /** The groups that are reminded, that it is escalated to, or that are asked what became of a call; empty: all that are asked. */
    readonly concerns: readonly string[];
    readonly decidedBy: readonly { readonly reviewer: string; readonly decision: string }[];
    /** Who asked or answered; null: nobody did. */
    readonly saidBy: string | null;
  };
  /** At level `full`: the action as text, as its reviewers read it. */
  readonly rendered?: string;
  /** At level `full`: the question or the answer. */
  readonly said?: string;
};

type Needed = Pick<ApprovalRequirement, "policy" | "group" | "quorum" | "orGroups" | "signed">;

type Row = {
  readonly team: string;
  readonly agent: string;
  readonly run: RunId;
  readonly seq: number;
  readonly name: string;
  readonly action: Digest;
  /** Null: of a call that nobody was asked about. */
  readonly rendered: Digest | null;
  readonly requirements: readonly ApprovalRequirement[];
  readonly requestedBy: string;
  readonly openedAt: Date;
  readonly expiresAt: Date;
  /** As it is now. */
  readonly state: string;
  readonly decidedAt: Date | null;
  /** Of its run. */
  readonly erased: boolean;
  readonly decidedBy: readonly { readonly reviewer: string; readonly decision: string }[] | null;
  readonly said: { readonly author: string; readonly content: Digest } | null;
};

/** A notice that is no test. */
export type TellingNotice = TakenNotice & { readonly event: NoticeEvent };

/** Also whether it still waits for people. Throws StoreErrors where `full` contents cannot be read. */
export async function factsOf(
  tx: Tx,
  keys: PayloadKeys,
  notice: TellingNotice,
  level: NoticeLevel,
): Promise<{ readonly facts: NoticeFacts; readonly pending: boolean }> {
  const about = notice.request ?? notice.outcome;
  const row = await (notice.outcome === null ? rowOfRequest(tx, notice) : rowOfOutcome(tx, notice));
  if (about === null || row === undefined) throw new TypeError("a notice refers to what it is about");
  const hasEnded = notice.event === "decided" || notice.event === "expired" || notice.event === "cancelled";
  const facts: NoticeFacts = {
    approval: about,
    event: notice.event,
    team: row.team,
    state: notice.requestState ?? row.state,
    openedAt: row.openedAt.toISOString(),
    expiresAt: row.expiresAt.toISOString(),
    decidedAt: hasEnded ? (row.decidedAt?.toISOString() ?? null) : null,
    ...(level === "link" ? {} : { summary: summaryOf(row, notice) }),
    ...(level === "full" && row.rendered !== null ? { rendered: await textIn(tx, keys, row, row.rendered) } : {}),
    ...(level === "full" && row.said !== null ? { said: await textIn(tx, keys, row, row.said.content) } : {}),
  };
  return { facts, pending: row.state === "pending" || row.state === "open" };
}

async function rowOfRequest(tx: Tx, { request, event, key }: TellingNotice): Promise<Row | undefined> {
  const isSaid = event === "asked" || event === "answered";
  const { rows } = await tx.query<Row>(
    `select request.team, run.agent, request.run, request.seq, request.name, request.action, request.rendered, request.requirements,
       run.requested_by as "requestedBy", request.opened_at as "openedAt", request.expires_at as "expiresAt", request.state,
       request.decided_at as "decidedAt", run.contents_erased_at is not null as erased,
       (select json_agg(json_build_object('reviewer', reviewer, 'decision', decision) order by id)
        from approval_decision where approval_decision.request = request.id) as "decidedBy",
       (select json_build_object('author', author, 'content', content)
        from approval_message said where said.request = request.id and said.n = $2) as said
     from approval_request request join run on run.id = request.run where request.id = $1`,
    [request, isSaid ? Number(key) : null],
  );
  return rows[0];
}

/** Its text is that of the approval which the call had, if any. */
async function rowOfOutcome(tx: Tx, { outcome }: TellingNotice): Promise<Row | undefined> {
  const { rows } = await tx.query<Row>(
    `select asked.team, run.agent, asked.run, asked.seq, asked.name, asked.action,
       (select rendered from approval_request used
        where used.run = asked.run and used.seq = asked.seq and used.consumed_at is not null order by used.id desc limit 1) as rendered,
       '[]'::jsonb as requirements, run.requested_by as "requestedBy", asked.opened_at as "openedAt", asked.expires_at as "expiresAt",
       asked.state, null::timestamptz as "decidedAt", run.contents_erased_at is not null as erased, null as "decidedBy", null as said
     from unknown_outcome asked join run on run.id = asked.run where asked.id = $1`,
    [outcome],
  );
  return rows[0];
}

/** Of a run whose contents were erased since, there is none. */
async function textIn(tx: Tx, keys: PayloadKeys, { erased }: Row, digest: Digest): Promise<string> {
  return erased ? "ERASED" : ((await getPayload(tx, keys, digest)) as string);
}

function summaryOf(row: Row, { event, groups }: Pick<TakenNotice, "event" | "groups">) {
  return {
    agent: row.agent,
    run: row.run,
    seq: row.seq,
    tool: row.name,
    requestedBy: row.requestedBy,
    action: row.action,
    needs: row.requirements.map(({ policy, group, quorum, orGroups, signed }) => ({
      policy,
      group,
      quorum,
      ...(orGroups === undefined ? {} : { orGroups }),
      ...(signed === undefined ? {} : { signed }),
    })),
    concerns: groups,
    // Before the decision there are first signatures of a quorum, which come after the event: they would differ between attempts.
    decidedBy: event === "decided" ? (row.decidedBy ?? []) : [],
    saidBy: row.said?.author ?? null,
  };
}
