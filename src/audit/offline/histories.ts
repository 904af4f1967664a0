import type { Json } from "../../core/json.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { at, eventsOf, hasEnded, linkProblems, scheduledInput } from "../history-events.ts";
import type { Findings } from "./findings.ts";

type Seen = { readonly activity: string; readonly type: string; readonly seq: number | undefined; readonly run: Json };

/**
 * Joins a run's workflow histories with its record, without executing the workflow: each effect that was begun was an activity of the
 * history, and each activity that asks for a step asks for a recorded one of this run. Returns the number of events.
 */
export function checkHistories(record: RunRecord, findings: Findings): number {
  const where = record.run.id;
  for (const problem of linkProblems(record)) findings.add("histories", "history_foreign", where, problem);
  const whole = hasEnded(record);
  if (!whole && record.run.closedAt !== null) findings.add("histories", "history_cut", where);
  const seen = record.histories.flatMap(({ temporalRunId, history }) =>
    eventsOf(history).flatMap((event) => [...scheduled(event, temporalRunId), ...local(event, temporalRunId)]),
  );
  const activities = new Set(seen.map(({ activity }) => activity));
  // A workflow that was terminated may have lost the marker of a local activity that had acted.
  if (whole && isOrderly(record)) {
    for (const { seq, outcome, activity } of record.decisions) {
      if (outcome === "allow" && !activities.has(activity))
        findings.add(
          "histories",
          "intent_without_history",
          `${where} step ${seq}`,
          `the history has no activity \`${activity}\``,
        );
    }
  }
  const steps = new Set(record.steps.map(({ seq }) => seq));
  const stopped = record.run.failure?.code.startsWith("limit_") === true || record.run.status === "cancelled";
  for (const { type, seq, run } of seen) {
    if (run !== undefined && run !== null && run !== where)
      findings.add(
        "histories",
        "history_foreign",
        where,
        `activity \`${type}\` was asked for on behalf of another run`,
      );
    const isStep = type === "model" || type === "tool" || type === "retrieval" || type === "notify";
    if (whole && !stopped && isStep && seq !== undefined && !steps.has(seq))
      findings.add("histories", "history_without_record", `${where} step ${seq}`);
  }
  return record.histories.reduce((sum, { history }) => sum + eventsOf(history).length, 0);
}

function scheduled(event: Json, execution: string): readonly Seen[] {
  const activityId = at(at(event, "activityTaskScheduledEventAttributes"), "activityId");
  return scheduledInput(event).map(({ activityType, args: [input = null] }) => {
    const seq = at(input, "seq");
    return {
      activity: `${execution}/${textOf(activityId)}`,
      type: activityType,
      seq: typeof seq === "number" ? seq : undefined,
      run: at(input, "run"),
    };
  });
}

/** A local activity leaves a marker with its id and type, and not its input. */
function local(event: Json, execution: string): readonly Seen[] {
  const marker = at(event, "markerRecordedEventAttributes");
  if (at(marker, "markerName") !== "core_local_activity") return [];
  const payloads = at(at(at(marker, "details"), "data"), "payloads");
  const data = Array.isArray(payloads) ? at((payloads as readonly Json[])[0] ?? null, "data") : null;
  if (typeof data !== "string") return [];
  try {
    const about = JSON.parse(Buffer.from(data, "base64").toString("utf8")) as Json;
    const type = at(about, "activity_type");
    return [
      { activity: `${execution}/${textOf(at(about, "activity_id"))}`, type: textOf(type), seq: undefined, run: null },
    ];
  } catch {
    return [];
  }
}

function isOrderly(record: RunRecord): boolean {
  const last = eventsOf(record.histories.at(-1)?.history ?? null).at(-1);
  const type = at(last ?? null, "eventType");
  return type === "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED" || type === "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED";
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
