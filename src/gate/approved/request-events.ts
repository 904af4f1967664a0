import { rendererVersion } from "../../approvals/index.ts";
import { askedOf, barredText } from "../../core/decision.ts";
import type { ApprovalRequirement, Barred } from "../../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import { digestOf } from "../../store/index.ts";
import type { RunContext } from "../governed-call.ts";
import { runEvent } from "../run/event.ts";

export type Requested = {
  readonly seq: number;
  readonly action: Digest;
  readonly rendered: Digest;
  readonly requirements: readonly ApprovalRequirement[];
  readonly barred: readonly Barred[];
  readonly openedAt: Date;
  readonly expiresAt: Date;
};

/** A request with all its terms: what an auditor holds it to. */
export function requestedEvent(run: RunContext, approval: ApprovalId, request: Requested): LedgerEvent {
  const { seq, action, rendered, requirements, barred, openedAt, expiresAt } = request;
  return runEvent(run, "approval.requested", `approval/${approval}/requested`, openedAt, {
    approval,
    seq,
    action,
    rendered,
    renderer: rendererVersion,
    groups: requirements.map(askedOf),
    requirements: digestOf(requirements as unknown as Json),
    barred: barred.map(barredText),
    expiresAt: expiresAt.toISOString(),
  });
}

/** How a request came to its end, where people did not end it. */
export function requestEnded(
  run: { readonly id: RunId; readonly team: string },
  how: "consumed" | "expired" | "cancelled",
  approval: ApprovalId,
  seq: number,
  now: Date,
): LedgerEvent {
  return runEvent(run, `approval.${how}`, `approval/${approval}/${how}`, now, { approval, seq });
}
