import { z } from "zod";

import { name, pageSize, principalId, time } from "./common.schema.ts";

export const reportQuery = z.strictObject({
  team: name,
  since: time.optional().describe("requests opened since then; default: 30 days"),
  samples: z.coerce
    .number()
    .int()
    .min(5)
    .max(10_000)
    .default(20)
    .describe("how often a request must have been approved before a narrower policy is proposed"),
  cursor: z
    .string()
    .regex(/^\d{1,9}$/)
    .optional()
    .describe("`next` of the page before"),
  limit: pageSize,
});

const milliseconds = z.int().nullable();

const policyLoad = z.object({
  policy: z.string(),
  asked: z.int(),
  approved: z.int(),
  denied: z.int(),
  expired: z.int().describe("nobody decided in time"),
  cancelled: z.int().describe("the run ended first"),
  pending: z.int(),
  medianMs: milliseconds.describe("from the opening to the request's end"),
  p90Ms: milliseconds,
  decisions: z.int().describe("those that count for a requirement of this policy"),
  shown: z
    .int()
    .describe("of them, those whose reviewer was shown the request before; the others count from the opening"),
  quick: z.int().describe("decisions within three seconds of when their reviewer was first shown the request"),
});

const reviewerLoad = z.object({
  reviewer: principalId,
  decisions: z.int(),
  approved: z.int(),
  shown: z.int(),
  medianMs: z.int().describe("from when they were first shown a request, or from its opening"),
  quick: z.int(),
});

const narrowing = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("proposed"),
    text: z.string().describe("the policy in Cedar, with an `unless` clause; it is in force nowhere"),
    open: z.array(z.string()).describe("arguments that it leaves to be anything"),
  }),
  z.object({ status: z.literal("none"), reason: z.string() }),
]);

export const approvalReport = z
  .object({
    team: name,
    since: time,
    policies: z.array(policyLoad),
    next: z.string().nullable(),
    reviewers: z.array(reviewerLoad).describe("the busiest two hundred; on the first page"),
    candidates: z
      .array(z.object({ policy: z.string(), tool: z.string(), approved: z.int(), narrowing }))
      .describe("requests that were always approved; on the first page"),
  })
  .meta({ id: "ApprovalReport" });
