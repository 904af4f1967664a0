import { ApiError } from "../../api/index.ts";
import type { EvaluationReason, ResponseOf } from "../../api/index.ts";
import { requestById } from "../../approvals/index.ts";
import type { ApprovalRequest } from "../../approvals/index.ts";
import { freezesInForce } from "../../registry/index.ts";
import { sha256 } from "../../store/index.ts";
import { evaluationIdOf, decidedCall, isMadeWith, isSameSubmission, requestFor } from "../access-record.ts";
import type { DecidedCall } from "../access-record.ts";
import { linkTo } from "../deliver-notices.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";

type Answer = ResponseOf<"evaluateAccess">;
type TaskState = ResponseOf<"showAccessTask">["task"]["status"];

const capability = "urn:openid:authzen:capability:access-request";
const retryAfterSeconds = 2;
const display = {
  title: "Approval needed",
  description:
    "The run waits for people to approve this call. They have been asked: there is nothing to submit but to follow it.",
} as const;

/**
 * An adapter for whoever stands in front of a tool and speaks AuthZEN. It tells what the gate has decided, and decides nothing: `true` only
 * while the gate itself has let this very call through and it has not ended. An approval is the one that the run's own request has, for its
 * action digest; the gate alone uses it.
 */
export const accessHandlers: Handlers<"accessMetadata" | "evaluateAccess" | "requestAccess" | "showAccessTask"> = {
  async accessMetadata(_request, { services }) {
    return {
      policy_decision_point: services.site().origin,
      access_evaluation_endpoint: at(services, "access/v1/evaluation"),
      access_request_endpoint: at(services, "access/v1/requests"),
      capabilities: [capability],
    };
  },

  async evaluateAccess({ body, headers }, { services, reply }) {
    const id = headers["x-request-id"];
    if (id !== undefined) reply.header("x-request-id", id);
    const call = await decidedCall(services.pool, services.keys, body);
    const presented = body.context?.approval?.id;
    if (call === undefined) return answer(services, "not_asked", { next_action: "none" });
    const named = namedOf(call);
    if (presented !== undefined && presented !== call.approval) {
      return answer(services, "approval_unverifiable", { ...named, next_action: "none" });
    }
    const request = call.approval === null ? undefined : await requestById(services.pool, call.approval);
    const evaluated = evaluate(services, call, request);
    // Let through, and stopped since: it is asked again once that is lifted.
    if (!evaluated.decision || !(await isStopped(services, call))) return evaluated;
    return answer(services, "frozen", { ...named, next_action: "retry", retry_after: retryAfterSeconds });
  },

  async requestAccess({ body, headers }, { services, reply, caller }) {
    const { evaluation_id: evaluationId } = body.denial;
    const key = headers["idempotency-key"];
    const submitted = { key: key ?? "", body: sha256(JSON.stringify(body)) };
    if (key !== undefined && !(await isSameSubmission(services.pool, caller().id, submitted, services.now()))) {
      throw new ApiError("submission_differs", "the same Idempotency-Key came with another submission before", {
        hint: "a new submission takes a new key",
      });
    }
    const request =
      evaluationId === undefined ? undefined : await requestFor(services.pool, services.keys, evaluationId, body);
    if (request === undefined) {
      throw new ApiError("denial_not_bound", "`denial.evaluation_id` names no decision on this very call", {
        hint: "evaluate first, and send what that was about unchanged",
      });
    }
    if (request === null) throw new ApiError("not_requestable", "the decision on this call asks nobody");
    // By what is recorded, not by what is sent.
    if (services.now() >= request.expiresAt) {
      throw new ApiError("denial_expired", `nobody decided until ${request.expiresAt.toISOString()}`);
    }
    const task = taskOf(services, request);
    reply.header("location", task.task.status_endpoint);
    return task;
  },

  async showAccessTask({ params: { approval } }, { services, reply }) {
    const request = await requestById(services.pool, approval);
    if (request === undefined) throw new ApiError("approval_not_found", `no approval request \`${approval}\``);
    if (services.now() >= request.expiresAt)
      throw new ApiError("task_expired", `the request was open until ${request.expiresAt.toISOString()}`);
    const task = taskOf(services, request);
    if (task.task.status === "pending") reply.header("retry-after", String(retryAfterSeconds));
    return task;
  },
};

/** The evaluation is the gate's, and its time is that of the gate's decision: each answer on it names both alike. */
function namedOf(call: DecidedCall) {
  return { evaluation_id: evaluationIdOf(call), evaluated_at: call.at.toISOString() };
}

async function isStopped({ pool }: Services, { team, agent, tool }: DecidedCall): Promise<boolean> {
  return (await freezesInForce(pool, team)).some(
    (one) => (one.agent === null || one.agent === agent) && (one.tool === null || one.tool === tool),
  );
}

function evaluate(services: Services, call: DecidedCall, request: ApprovalRequest | undefined): Answer {
  const named = namedOf(call);
  const none = { ...named, next_action: "none" } as const;
  switch (call.state) {
    case "intended": {
      // Allowed, and not made before witnesses have cosigned that.
      if (call.effect === "waiting")
        return answer(services, "grant_pending", {
          ...named,
          next_action: "retry",
          retry_after: retryAfterSeconds,
        });
      const isOpen = call.effect === "intended" && call.outcome === "allow" && call.runStatus === "running";
      // Recorded only, or about to be made with other arguments: this is not the call that was let through.
      if (!isOpen || call.shadow || !isMadeWith(call)) return answer(services, "policy_denied", none);
      const approval =
        request === undefined ? {} : { approval: { id: request.id, approved_until: request.expiresAt.toISOString() } };
      return { ...answer(services, "allowed", { ...named, ...approval }), decision: true };
    }
    case "waiting":
      return request === undefined ? answer(services, "policy_denied", none) : whileWaiting(services, call, request);
    case "denied":
    case "cancelled":
      return answer(services, "policy_denied", none);
    case "done":
    case "failed":
    case "unknown":
      return answer(services, "already_made", none);
  }
}

function whileWaiting(services: Services, call: DecidedCall, request: ApprovalRequest): Answer {
  const named = namedOf(call);
  switch (statusOf(services, request)) {
    case "pending": {
      const expires_at = request.expiresAt.toISOString();
      const access_request = { endpoint: at(services, "access/v1/requests"), expires_at, display };
      return answer(services, "approval_required", { ...named, access_request });
    }
    case "approved":
      // Approved, and not used yet: the gate decides again before it is. Past its time it is used by nobody.
      return services.now() < request.expiresAt
        ? answer(services, "grant_pending", { ...named, next_action: "retry", retry_after: retryAfterSeconds })
        : answer(services, "approval_expired", { ...named, next_action: "none" });
    case "expired":
      return answer(services, "approval_expired", { ...named, next_action: "none" });
    case "denied":
    case "cancelled":
    case "failed":
      return answer(services, "policy_denied", { ...named, next_action: "none" });
  }
}

function answer(
  services: Services,
  reason: EvaluationReason,
  rest: Omit<Answer["context"], "reason" | "evaluated_at"> & { readonly evaluated_at?: string },
): Answer {
  return { decision: false, context: { evaluated_at: services.now().toISOString(), ...rest, reason } };
}

/** A task comes to one end: what becomes of an approval afterwards is told by evaluating again. */
function statusOf(services: Services, request: ApprovalRequest): TaskState {
  const { state, decidedAt } = request;
  if (state === "denied") return "denied";
  if (decidedAt !== null) return "approved";
  if (state === "pending") return services.now() < request.expiresAt ? "pending" : "expired";
  return state === "expired" || state === "cancelled" ? state : "failed";
}

function taskOf(services: Services, request: ApprovalRequest): ResponseOf<"showAccessTask"> {
  const { id, decidedAt, expiresAt } = request;
  const status = statusOf(services, request);
  const until = expiresAt.toISOString();
  const task = {
    id,
    status,
    status_endpoint: at(services, `access/v1/requests/${id}`),
    expires_at: until,
    display: { ...display },
    links: { review: linkTo(services, id) },
  };
  if (status !== "approved" || decidedAt === null) return { task };
  const approval = { id, approved_at: decidedAt.toISOString(), approved_until: until };
  return { task, result: { mode: "reevaluate", approval } };
}

function at(services: Services, path: string): string {
  return new URL(path, services.site().origin).href;
}
