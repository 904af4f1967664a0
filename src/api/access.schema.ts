/**
 * OpenID AuthZEN: the Authorization API 1.0, and of the Access Request and Approval Profile (draft 1) the parts that are served here.
 * Members that are not known are ignored, as both ask for.
 */
import { z } from "zod";

import { approvalId, jsonObject, time } from "./common.schema.ts";

const text = z.string().min(1).max(500);
const subject = z.looseObject({ type: text, id: text, properties: jsonObject.optional() });
const resource = z.looseObject({ type: text, id: text, properties: jsonObject.optional() });
const action = z.looseObject({ name: text, properties: jsonObject.optional() });
const approvalReference = z.looseObject({ id: z.string().max(500) });

export const evaluationBody = z
  .looseObject({
    subject: subject.describe('`{"type": "agent", "id": "TEAM/AGENT"}`'),
    action: action.describe('`{"name": "tool/NAME", "properties": {"arguments": {…}}}`'),
    resource: resource.describe('`{"type": "run", "id": "run_…"}`'),
    context: z.looseObject({ approval: approvalReference.optional() }).optional(),
  })
  .meta({ id: "AccessEvaluation" });

/** AuthZEN 1.0, "Request Identification": it comes back with the answer. */
export const evaluationHeaders = z.object({
  "x-request-id": z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/)
    .optional(),
});

export const evaluationReasons = [
  "allowed",
  "approval_required",
  "grant_pending",
  "frozen",
  "approval_expired",
  "approval_unverifiable",
  "policy_denied",
  "already_made",
  "not_asked",
] as const;
export type EvaluationReason = (typeof evaluationReasons)[number];

export const evaluationAnswer = z
  .object({
    decision: z.boolean(),
    context: z.object({
      reason: z.enum(evaluationReasons),
      evaluation_id: z.string().optional(),
      evaluated_at: time,
      access_request: z
        .object({
          endpoint: z.string(),
          expires_at: time,
          display: z.object({ title: z.string(), description: z.string() }),
        })
        .optional(),
      approval: z.object({ id: approvalId, approved_until: time }).optional(),
      next_action: z.enum(["request", "retry", "none"]).optional(),
      retry_after: z.int().optional(),
    }),
  })
  .meta({ id: "AccessDecision" });

export const accessRequestBody = z
  .looseObject({
    subject,
    resource,
    action,
    denial: z.looseObject({
      evaluation_id: z.string().max(200).optional(),
      expires_at: time.describe("of `access_request`, unchanged; what is recorded counts"),
    }),
    items: z.undefined().optional().describe("bundles are not served"),
  })
  .meta({ id: "AccessRequest" });

/** The same submission with the same key is the same task; another with it is refused. */
export const accessRequestHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/)
    .optional(),
});

export const accessTaskStates = ["pending", "approved", "denied", "expired", "cancelled", "failed"] as const;

export const accessTask = z
  .object({
    task: z.object({
      id: approvalId,
      status: z.enum(accessTaskStates),
      status_endpoint: z.string(),
      expires_at: time,
      display: z.object({ title: z.string(), description: z.string() }),
      links: z.object({ review: z.string() }),
    }),
    result: z
      .object({
        mode: z.literal("reevaluate"),
        approval: z.object({ id: approvalId, approved_at: time, approved_until: time }),
      })
      .optional(),
  })
  .meta({ id: "AccessTask" });

export const accessMetadata = z.object({
  policy_decision_point: z.string(),
  access_evaluation_endpoint: z.string(),
  access_request_endpoint: z.string(),
  capabilities: z.array(z.string()),
});
