import type { Json } from "../../core/json.ts";
import type { RunRecord } from "../../core/run-record.ts";

/** What is read of Temporal's histories: whoever serves them is not trusted, so any shape may come. */

export type Scheduled = { readonly activityType: string; readonly args: readonly Json[] };

export function eventsOf(history: Json): readonly Json[] {
  const events = at(history, "events");
  return Array.isArray(events) ? (events as readonly Json[]) : [];
}

export function at(value: Json, key: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  return (value as { readonly [key: string]: Json })[key] ?? null;
}

export function scheduledInput(event: Json): readonly Scheduled[] {
  const attributes = at(event, "activityTaskScheduledEventAttributes");
  const activityType = at(at(attributes, "activityType"), "name");
  const payloads = at(at(attributes, "input"), "payloads");
  if (typeof activityType !== "string" || !Array.isArray(payloads)) return [];
  return [{ activityType, args: (payloads as readonly Json[]).map(decode) }];
}

function decode(payload: Json): Json {
  const data = at(payload, "data");
  if (typeof data !== "string" || data === "") return null;
  try {
    return JSON.parse(Buffer.from(data, "base64").toString("utf8")) as Json;
  } catch {
    // No input of this code: it is nobody's fingerprint.
    return { unreadable: data };
  }
}

/** The histories are those of this run: each begins under its id, and names the one after it. */
export function linkProblems(record: RunRecord): readonly string[] {
  return record.histories.flatMap(({ temporalRunId, history }, index) => {
    // A lost one says nothing; that it is lost is told elsewhere.
    if (history === null) return [];
    const events = eventsOf(history);
    const started = at(events[0] ?? null, "workflowExecutionStartedEventAttributes");
    const next = at(at(events.at(-1) ?? null, "workflowExecutionContinuedAsNewEventAttributes"), "newExecutionRunId");
    const following = record.histories[index + 1]?.temporalRunId ?? null;
    const before = at(started, "continuedExecutionRunId");
    const preceding = record.histories[index - 1]?.temporalRunId ?? null;
    return [
      ...(at(started, "workflowId") === record.run.id ? [] : [`execution ${index} is of another workflow`]),
      ...(at(started, "originalExecutionRunId") === temporalRunId
        ? []
        : [`execution ${index} is not \`${temporalRunId}\``]),
      ...((before === "" ? null : before) === preceding
        ? []
        : [
            `execution ${index} goes on from \`${JSON.stringify(before)}\`, before it is \`${JSON.stringify(preceding)}\``,
          ]),
      ...(next === following
        ? []
        : [
            `execution ${index} goes on as \`${JSON.stringify(next)}\`, the next one is \`${JSON.stringify(following)}\``,
          ]),
    ];
  });
}

const endings = ["COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT"].map(
  (how) => `EVENT_TYPE_WORKFLOW_EXECUTION_${how}`,
);

/** Whether an execution is over: nothing is added to its history any more. */
export function executionHasEnded(history: Json): boolean {
  return continuedAs(history) !== null || hasEnded({ histories: [{ temporalRunId: "", history }] });
}

/** The execution that the run went on as, where this one continued as new. */
export function continuedAs(history: Json): string | null {
  const last = eventsOf(history).at(-1) ?? null;
  const next = at(at(last, "workflowExecutionContinuedAsNewEventAttributes"), "newExecutionRunId");
  return typeof next === "string" && next !== "" ? next : null;
}

/** Whether the histories are all there, and reach to the end of the workflow. */
export function hasEnded(record: Pick<RunRecord, "histories">): boolean {
  if (record.histories.some(({ history }) => history === null)) return false;
  const last = eventsOf(record.histories.at(-1)?.history ?? null).at(-1);
  return endings.some((ending) => ending === at(last ?? null, "eventType"));
}
