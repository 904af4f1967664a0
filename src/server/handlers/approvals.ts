import { randomBytes } from "node:crypto";

import { ApiError } from "../../api/index.ts";
import {
  countPasskeyUse,
  decideRequest,
  decisionsOf,
  editBehind,
  editOf,
  eventsOf,
  listRequests,
  noteViewing,
  statementFacts,
  takeDue,
  whoMayDecide,
} from "../../approvals/index.ts";
import type { ApprovalRequest } from "../../approvals/index.ts";
import { approvalIdPattern, peopleLog } from "../../core/ids.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox, logSize } from "../../ledger/index.ts";
import { noticesOf } from "../../notify/index.ts";
import { getPayloads, inTransaction, saltOf } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { contextOf } from "../approval-context.ts";
import { viewOfApproval, viewOfEligibility, viewOfEvents, viewsOfApprovals } from "../approval-views.ts";
import { wake } from "../deliver-decisions.ts";
import type { Handlers } from "../handler.ts";
import { approvalDecided, approvalDue } from "../ledger-events.ts";
import { noteAuditorsRead } from "../note-read.ts";
import { viewOfNotice } from "../receiver-views.ts";
import { callOf, madeWith } from "../recorded-call.ts";
import { shortCalls } from "../short-calls.ts";
import { messageViews } from "./approval-messages.ts";
import { existingRequest } from "./approval-request.ts";
import { subjectOf } from "./unknown-outcomes.ts";

const eventsShown = 200;
const nothingShown: ReadonlyMap<ApprovalId, string> = new Map();
/** Stands for what reviewers were shown and is erased. */
const erasedText = "ERASED";

export const approvalHandlers: Handlers<"listApprovals" | "showApproval" | "decideApproval"> = {
  async listApprovals({ query }, { services, caller }) {
    const { cursor, limit, ...filter } = query;
    if (cursor !== undefined && !approvalIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const rows = await listRequests(services.pool, {
      ...filter,
      team: filter.team ?? caller().teams,
      before: cursor as ApprovalId | undefined,
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    const views = await viewsOfApprovals(services.pool, page, services.now());
    // Auditors' reads of contents are recorded, one by one: a list shows them none.
    const { rolesIn } = caller();
    const read = page.filter(({ team }) => rolesIn(team).some((role) => role === "reviewer" || role === "admin"));
    // The inbox is there whatever became of one call; `approvals show` says what.
    const calls = await shortCalls(services.pool, services.keys, read).catch(() => nothingShown);
    const approvals = views.map((view) => ({ ...view, call: calls.get(view.id) ?? null }));
    return { approvals, next: rows.length > limit ? (page.at(-1)?.id ?? null) : null };
  },

  async showApproval({ params: { approval } }, { services, caller }) {
    const { pool, keys } = services;
    const request = await existingRequest(pool, approval);
    const { id, roles } = caller();
    await noteAuditorsRead(services, { id: request.run, team: request.team }, "approval", { id, roles });
    // Who may never decide is no reviewer whose time is counted.
    if (request.state === "pending" && (roles.includes("reviewer") || roles.includes("admin")))
      await noteViewing(pool, request.id, id, services.now());
    const [decisions, shown, eligible, events, notices, context, call, made, edit, behind, messages, salt] =
      await Promise.all([
        decisionsOf(pool, request.id),
        getPayloads(pool, keys, [request.rendered]),
        whoMayDecide(pool, request, services.now()),
        eventsOf(pool, request.id, eventsShown),
        noticesOf(pool, request.id),
        contextOf(pool, keys, request),
        callOf(pool, keys, request),
        madeWith(pool, keys, request),
        editOf(pool, request.id),
        editBehind(pool, request.id),
        messageViews(pool, keys, request.id),
        saltOf(pool, keys, request.run),
      ]);
    const rendered = shown.get(request.rendered);
    return {
      ...viewOfApproval(request, decisions, services.now()),
      rendered: typeof rendered === "string" ? rendered : erasedText,
      salt: salt ?? null,
      statement: templateOf(request),
      routing: viewOfEligibility(eligible),
      events: viewOfEvents(events),
      notices: notices.map(viewOfNotice),
      page: `${services.site().origin}/approve/${request.id}`,
      context,
      messages,
      call: call?.tool === undefined ? null : (call.action as unknown as Json),
      tool: call?.tool === undefined ? null : { parameters: call.tool.parameters, render: call.tool.render ?? {} },
      made: made ?? null,
      editedBy: edit?.reviewer ?? null,
      successor: edit?.successor ?? null,
      editOf: behind?.request ?? null,
      editors: [...request.editors],
    };
  },

  async decideApproval({ params: { approval }, body }, { services, caller }) {
    const { id: reviewer } = caller();
    const now = services.now();
    const decide = async (tx: Tx) => {
      // What gives the reviewer a right by the clock stands in the ledger before what they do with it.
      const due = await takeDue(tx, now, { request: approval });
      await appendToOutbox(
        tx,
        due.map((event) => approvalDue(event, now)),
      );
      const asked = await existingRequest(tx, approval);
      const outcome = await decideRequest(tx, body, reviewer, now, await subjectOf(services, tx, asked.run));
      if (outcome.request.id !== approval)
        throw new ApiError("statement_invalid", "the statement is about another request");
      if (!outcome.recorded) return outcome;
      if (body.kind === "webauthn") await countPasskeyUse(tx, body.keyId, body);
      const keysSize = await logSize(tx, peopleLog);
      await appendToOutbox(tx, [approvalDecided(outcome, body, reviewer, now, keysSize)]);
      return outcome;
    };
    const decided = await faultPoint("approval.decide", () => inTransaction(services.pool, decide));
    const open = decided.state === "pending";
    const woken = open ? false : await wake(services, decided.request.run, approval);
    const request = await existingRequest(services.pool, approval);
    const decisions = await decisionsOf(services.pool, approval);
    return { approval: viewOfApproval(request, decisions, services.now()), recorded: decided.recorded, woken };
  },
};

function templateOf(request: ApprovalRequest) {
  return { ...statementFacts(request), nonce: randomBytes(18).toString("base64url") };
}
