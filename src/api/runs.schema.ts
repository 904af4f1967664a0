import { z } from "zod";

import { denialCodes } from "../core/decision.ts";
import { stepStates } from "../core/states.ts";
import { runFailureCodes, runStatuses } from "../core/run.ts";
import { approvalSummary } from "./approvals.schema.ts";
import { channel } from "./agents.schema.ts";
import { freezeView } from "./freezes.schema.ts";
import {
  approvalId,
  digest,
  json,
  jsonObject,
  microUsd,
  name,
  pageSize,
  principalId,
  runId,
  stepKind,
  time,
} from "./common.schema.ts";

const text = z.string().max(500);

export const startRunBody = z
  .strictObject({
    team: name,
    agent: name,
    channel: channel.optional().describe("default: production"),
    release: digest.optional().describe("a release by its digest, instead of a channel"),
    prompt: z.string().min(1).max(1_000_000).regex(/\S/, "has nothing but spaces"),
    subject: z.strictObject({ id: text.min(1), email: z.email().max(320).optional() }).optional(),
    tags: z
      .record(z.string().regex(/^[a-zA-Z0-9_.-]{1,64}$/), text)
      .refine((tags) => Object.keys(tags).length <= 32, "at most 32 tags")
      .optional(),
  })
  .refine((body) => body.channel === undefined || body.release === undefined, {
    path: ["release"],
    message: "give a channel or a release, not both",
  });
export const startRunHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, "expected 1 to 200 printable characters")
    .optional(),
});

export const runView = z
  .object({
    id: runId,
    team: name,
    agent: name,
    release: digest,
    status: z.enum(runStatuses),
    requestedBy: principalId,
    createdAt: time,
    startedAt: time.nullable(),
    closedAt: time.nullable(),
    failure: z.object({ code: z.enum(runFailureCodes), message: z.string() }).nullable(),
    steps: z.int(),
    maxSteps: z.int(),
    spentMicroUsd: microUsd,
    maxCostMicroUsd: microUsd,
    spentTokens: z.int().describe("input and output of all model calls"),
    maxTokens: z.int().nullable().describe("null: no limit"),
    spentCalls: z.int().describe("calls of models and tools that were begun"),
    maxCalls: z.int().nullable().describe("null: no limit"),
    contentsErasedAt: time.nullable().describe("since when its contents are gone; null: they are kept"),
  })
  .meta({ id: "Run" });
export type RunView = z.output<typeof runView>;

export const decisionView = z
  .object({
    seq: z.int(),
    n: z.int(),
    about: z
      .enum(["call", "answer"])
      .describe("of a model's step: whether it is on the call, or on what the model answered"),
    outcome: z.enum(["allow", "deny", "require_approval"]),
    code: z.enum(denialCodes).nullable(),
    policies: z.array(z.string()),
    policySet: digest,
    approval: approvalId.nullable(),
    standingGrant: z.string().nullable().describe("the standing grant that took the place of an approval"),
    cosigned: z
      .object({ witnesses: z.int(), by: time })
      .nullable()
      .describe("how many witnesses have to cosign it before the call is made, and until when; null: none"),
    at: time,
  })
  .meta({ id: "Decision" });
export type DecisionView = z.output<typeof decisionView>;

export const stepView = z
  .object({
    seq: z.int(),
    kind: stepKind,
    name: z.string(),
    state: z.enum(stepStates),
    action: digest,
    askedBy: z.int().nullable(),
    callIndex: z.int().nullable(),
    costMicroUsd: microUsd,
    tokens: z.object({ input: z.int(), cachedInput: z.int(), output: z.int(), reasoning: z.int() }),
    decidedAt: time,
    finishedAt: time.nullable(),
    cosigning: z
      .enum(["waiting", "covered", "late"])
      .nullable()
      .describe(
        "whether the call waits for witnesses, was made when they had cosigned it, or never was; null: none were asked for",
      ),
    checkpoint: z.int().nullable().describe("size of the cosigned checkpoint that the call was made on"),
    code: z
      .enum(["no_room"])
      .nullable()
      .describe(
        "`no_room`: a model step that ended without an answer, since a budget had no room for another attempt; the model is asked again in a later step",
      ),
    arguments: z.string().optional().describe("a tool call's arguments, as the model wrote them"),
    result: json.optional().describe("what the step left: a model's answer or a tool's result"),
  })
  .meta({ id: "Step" });
export type StepView = z.output<typeof stepView>;

export const runOutput = z
  .union([z.object({ text: z.string() }), z.object({ value: jsonObject })])
  .meta({ id: "RunOutput" });

export const runState = z
  .object({
    phase: z.enum(["opening", "thinking", "acting", "waiting", "closing"]),
    nextSeq: z.int(),
    turns: z.int(),
    activeMs: z.number(),
    waitingFor: z.array(approvalId),
  })
  .meta({ id: "RunState" });

export const runDetail = z
  .object({
    run: runView,
    input: z
      .object({
        prompt: z.string(),
        subject: z.object({ id: z.string(), email: z.string().optional() }).optional(),
        tags: z.record(z.string(), z.string()).optional(),
      })
      .nullable()
      .describe("null: it was erased"),
    steps: z.array(stepView),
    decisions: z.array(decisionView),
    approvals: z.array(approvalSummary),
    freezes: z.array(freezeView).describe("what stops its next steps; empty where it has ended"),
    state: runState.nullable().describe("what the workflow says; null where it did not answer in time"),
    output: runOutput.nullable(),
  })
  .meta({ id: "RunDetail" });
export type RunDetail = z.output<typeof runDetail>;

export const listRunsQuery = z.strictObject({
  team: name.optional(),
  agent: name.optional(),
  status: z.enum(runStatuses).optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const runPage = z.object({ runs: z.array(runView), next: z.string().nullable() });

/** What `GET /v1/runs/:run/events` sends, one to a server-sent event. `delta` is never stored: the whole answer is in its step. */
export const watchEvent = z
  .discriminatedUnion("type", [
    z.object({ type: z.literal("run"), run: runView }),
    z.object({ type: z.literal("step"), step: stepView }),
    z.object({ type: z.literal("decision"), decision: decisionView, step: stepView }),
    z.object({ type: z.literal("approval"), approval: approvalSummary }),
    z.object({ type: z.literal("delta"), seq: z.int(), text: z.string() }),
    z.object({ type: z.literal("closed"), run: runView, output: runOutput.nullable() }),
  ])
  .meta({ id: "WatchEvent" });
export type WatchEvent = z.output<typeof watchEvent>;
