import { formatUsd } from "../core/money.ts";
import { named, retrievalIn } from "../core/retrieval.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../core/run-record.ts";
import type { ModelResult, ToolResult } from "../core/transcript.ts";
import { erasedText, erasureOf } from "./erasure.ts";
import { isUnanswered } from "./unanswered.ts";

export type TimelineEntry = { readonly at: string; readonly title: string; readonly lines: readonly string[] };

/** A run as a person reads it: what was asked, decided, by whom, done, and what it cost. Contents are shown, so mind who reads. */
export function timelineOf(record: RunRecord): readonly TimelineEntry[] {
  const { run } = record;
  const erasure = erasureOf(record);
  return [
    {
      at: run.createdAt,
      title: `run of ${run.team}/${run.agent}, asked for by ${run.requestedBy}`,
      lines: [erasure === undefined ? `input: ${record.input.prompt}` : `contents: ${erasedText(erasure)}`],
    },
    ...record.steps.map((step) => stepEntry(record, step)),
    ...(run.closedAt === null
      ? []
      : [
          {
            at: run.closedAt,
            title: `${run.status} after ${run.steps} steps, ${formatUsd(run.spentMicroUsd)}`,
            lines: closing(record),
          },
        ]),
  ];
}

function stepEntry(record: RunRecord, step: StepRecord): TimelineEntry {
  const decisions = record.decisions.filter((decision) => decision.seq === step.seq);
  return {
    at: step.decidedAt,
    title: `step ${step.seq} ${step.kind} ${step.name}: ${step.state}${step.costMicroUsd === 0 ? "" : `, ${formatUsd(step.costMicroUsd)}`}`,
    lines: [
      ...callLine(record, step),
      ...decisions.flatMap((decision) => decisionLines(record, decision)),
      ...((step.coveredSize ?? null) === null
        ? []
        : [`witnesses: cosigned the checkpoint of ${step.coveredSize} entries`]),
      ...resultLines(record, step),
    ],
  };
}

function callLine(record: RunRecord, step: StepRecord): readonly string[] {
  if (step.askedBy === null || step.callIndex === null) return [];
  const asking = record.steps.find((candidate) => candidate.seq === step.askedBy);
  const asked =
    asking === undefined || asking.result === null
      ? undefined
      : (record.payloads[asking.result] as unknown as ModelResult);
  const call = asked?.toolCalls[step.callIndex];
  return call === undefined ? [] : [`asked: ${call.name}(${call.arguments})`];
}

function decisionLines(record: RunRecord, decision: DecisionRecord): readonly string[] {
  const why = decision.policies.length === 0 ? "" : ` by ${decision.policies.join(", ")}`;
  const code = decision.code === null ? "" : ` (${decision.code})`;
  const request = record.approvals.find((candidate) => candidate.id === decision.approval);
  const people = decision.outcome === "require_approval" ? [] : (request?.decisions ?? []);
  const ahead = (record.standingGrants ?? []).find(({ id }) => id === decision.standingGrant);
  const use = ahead?.uses.find(({ seq }) => seq === decision.seq);
  return [
    ...(ahead === undefined
      ? []
      : [
          `approved ahead by ${ahead.approvals.map(({ reviewer }) => reviewer).join(", ")}: ${ahead.id}, use ${use?.n ?? "?"} of ${ahead.terms.uses}`,
        ]),
    ...people.map(
      ({ reviewer, decision: said, capacity }) =>
        `${reviewer}${capacity?.delegation === undefined ? "" : ` for ${capacity.delegation.delegator}`}: ${said === "approve" ? "approved" : "denied"} ${request?.id ?? ""}`,
    ),
    `${decision.facts.response === undefined ? "policy" : "policy on the answer"}: ${decision.outcome}${code}${why}`,
    ...((decision.witnesses ?? null) === null
      ? []
      : [`to be made once ${decision.witnesses} witnesses have cosigned that, until ${decision.cosignBy ?? ""}`]),
  ];
}

function resultLines(record: RunRecord, step: StepRecord): readonly string[] {
  if (isUnanswered(step)) return ["no answer: a budget had no room for another attempt, and the model is asked anew"];
  if (step.result === null) return [];
  const payload = record.payloads[step.result];
  if (payload === undefined) return [erasureOf(record) === undefined ? "result: not here" : "result: ERASED"];
  // A model step that was denied left a denial, as a tool step does.
  const result = payload as unknown as ModelResult | ToolResult;
  if ("content" in result) {
    const { content, toolCalls } = result;
    return [
      ...(content === "" ? [] : [`answered: ${content}`]),
      ...(result.problem === undefined ? [] : [`told the model: ${result.problem}`]),
      ...toolCalls.map((call) => `wants: ${call.name}(${call.arguments})`),
    ];
  }
  switch (result.status) {
    case "ok": {
      const found = step.kind === "retrieval" ? retrievalIn(result.value) : undefined;
      if (found !== undefined)
        return [
          ...found.documents.map((document) => `found: ${named(document)}: ${document.text}`),
          ...(found.withheld === 0 ? [] : [`withheld: ${found.withheld}, which the source was not said to have`]),
        ];
      return [`result: ${typeof result.value === "string" ? result.value : JSON.stringify(result.value)}`];
    }
    case "error":
      return [`failed: ${result.message}`];
    case "denied":
      return [`${step.kind === "model" ? "denied" : "told the agent"}: ${result.message}`];
  }
}

function closing(record: RunRecord): readonly string[] {
  const { failure, result } = record.run;
  if (failure !== null) return [`${failure.code}: ${failure.message}`];
  if (result === null) return [];
  const output = record.payloads[result];
  if (output === undefined) return [erasureOf(record) === undefined ? "output: not here" : "output: ERASED"];
  return [`output: ${JSON.stringify(output)}`];
}
