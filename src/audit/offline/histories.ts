import type { Json } from "../../core/json.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { at, eventsOf, executionHasEnded, hasEnded, linkProblems, scheduledInput } from "../replay/history-events.ts";
import { lostExecutions } from "../replay/losses.ts";
import type { Findings } from "./findings.ts";

/** An activity of a history, in one of the run's executions. `acted`: not one that was only put off, so that it is to be asked for again. */
type Seen = {
  readonly execution: string;
  readonly activity: string;
  readonly type: string;
  readonly seq: number | undefined;
  readonly run: Json;
  readonly local: boolean;
  readonly acted: boolean;
};

/**
 * Joins a run's workflow histories with its record, without executing the workflow: each decision was made in an activity of the history, of
 * the step's own kind and of no other step, and each activity that asks for a step asks for a recorded one of this run. Where the history of one
 * execution is lost or cut off, those of the others are held against the record all the same. Returns the number of events.
 */
export function checkHistories(record: RunRecord, findings: Findings): number {
  const where = record.run.id;
  for (const problem of linkProblems(record)) findings.add("histories", "history_foreign", where, problem);
  const whole = hasEnded(record);
  const lost = lostExecutions(record).length;
  if (lost > 0)
    findings.add("histories", "history_lost", where, `${lost} of ${record.histories.length} histories are not here`);
  else if (!whole && record.run.closedAt !== null) findings.add("histories", "history_cut", where);
  if (whole) checkEnd(record, findings);
  const seen = record.histories.flatMap(({ temporalRunId, history }) =>
    eventsOf(history).flatMap((event) => [...scheduled(event, temporalRunId), ...local(event, temporalRunId)]),
  );
  const ended = new Set(
    record.histories.filter(({ history }) => executionHasEnded(history)).map(({ temporalRunId }) => temporalRunId),
  );
  joinDecisions(record, seen, { whole, ended }, findings);
  joinLocal(record, seen, ended, findings);
  const steps = new Set(record.steps.map(({ seq }) => seq));
  const stopped = record.run.failure?.code.startsWith("limit_") === true || record.run.status === "cancelled";
  for (const { execution, type, seq, run } of seen) {
    if (run !== undefined && run !== null && run !== where)
      findings.add(
        "histories",
        "history_foreign",
        where,
        `activity \`${type}\` was asked for on behalf of another run`,
      );
    if (ended.has(execution) && !stopped && isStep(type) && seq !== undefined && !steps.has(seq))
      findings.add("histories", "history_without_record", `${where} step ${seq}`);
  }
  return record.histories.reduce((sum, { history }) => sum + eventsOf(history).length, 0);
}

/** How a run may have ended whose workflow ended so. One that was terminated ended it before, or had somebody else end it. */
const endings: Readonly<Record<string, readonly string[]>> = {
  EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: ["completed"],
  EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: ["failed", "cancelled"],
  EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: ["cancelled"],
};

/** A workflow ends its run, and then itself. */
function checkEnd({ run, histories }: RunRecord, findings: Findings): void {
  const last = textOf(at(eventsOf(histories.at(-1)?.history ?? null).at(-1) ?? null, "eventType"));
  const fits = endings[last];
  if (fits === undefined || fits.includes(run.status)) return;
  findings.add("histories", "end_differs", run.id, `the run is \`${run.status}\`, its history ends with \`${last}\``);
}

/** Executions whose histories are here, to their ends. `whole`: they are all of the run's. */
type Here = { readonly whole: boolean; readonly ended: ReadonlySet<string> };

/** Each decision has its activity: there, of the step's kind, and no other step's. */
function joinDecisions(record: RunRecord, seen: readonly Seen[], { whole, ended }: Here, findings: Findings): void {
  const byActivity = new Map(seen.map((one) => [one.activity, one]));
  const kinds = new Map(record.steps.map(({ seq, kind }) => [seq, kind as string]));
  const taken = new Map<string, number>();
  // Calls of one answer end before the model is asked again.
  const lastModel = Math.max(
    -1,
    ...seen.flatMap(({ type, seq }) => (type === "model" && seq !== undefined ? [seq] : [])),
  );
  const orderly = isOrderly(record);
  for (const { seq, activity } of record.decisions) {
    const say = (message: string): void =>
      findings.add("histories", "intent_without_history", `${record.run.id} step ${seq}`, message);
    const other = taken.get(activity);
    if (other !== undefined && other !== seq) say(`activity \`${activity}\` is that of step ${other} already`);
    taken.set(activity, seq);
    const found = byActivity.get(activity);
    if (found === undefined) {
      // A workflow that was terminated may have lost the marker of a local activity that had acted: of the last calls, no others.
      const lost = !orderly && kinds.get(seq) !== "model" && seq > lastModel;
      if ((whole || ended.has(executionOf(activity))) && !lost) say(`the history has no activity \`${activity}\``);
      continue;
    }
    const kind = kinds.get(seq);
    if (kind !== undefined && found.type !== kind)
      say(`activity \`${activity}\` is a \`${found.type}\`, the step a \`${kind}\``);
    if (found.seq !== undefined && found.seq !== seq) say(`activity \`${activity}\` is of step ${found.seq}`);
  }
}

/**
 * A local activity's marker does not say of which step it is. One that acted is named by a decision, or did again what a decided one had put
 * off: there are no more of those than steps whose own activities have not acted.
 */
function joinLocal(record: RunRecord, seen: readonly Seen[], ended: ReadonlySet<string>, findings: Findings): void {
  const named = new Set(record.decisions.map(({ activity }) => activity));
  const acted = new Set(seen.flatMap((one) => (one.acted ? [one.activity] : [])));
  const extra = seen.filter(
    (one) => ended.has(one.execution) && one.local && one.acted && isStep(one.type) && !named.has(one.activity),
  );
  // A step is decided on and done in one execution: those of lost ones give no room.
  const here = record.steps.filter(({ seq }) =>
    record.decisions.some((one) => one.seq === seq && ended.has(executionOf(one.activity))),
  );
  for (const type of new Set(extra.map((one) => one.type))) {
    const open = here.filter(
      ({ seq, kind }) => kind === type && record.decisions.every((one) => one.seq !== seq || !acted.has(one.activity)),
    ).length;
    for (const { activity } of extra.filter((one) => one.type === type).slice(open))
      findings.add(
        "histories",
        "history_without_record",
        record.run.id,
        `local activity \`${activity}\` did something that no decision names`,
      );
  }
}

/** A decision's activity is named by its execution, and its id in it. */
function executionOf(activity: string): string {
  return activity.split("/")[0] ?? "";
}

function isStep(type: string): boolean {
  return type === "model" || type === "tool" || type === "retrieval" || type === "notify";
}

function scheduled(event: Json, execution: string): readonly Seen[] {
  const activityId = at(at(event, "activityTaskScheduledEventAttributes"), "activityId");
  return scheduledInput(event).map(({ activityType, args: [input = null] }) => {
    const seq = at(input, "seq");
    return {
      execution,
      activity: `${execution}/${textOf(activityId)}`,
      type: activityType,
      seq: typeof seq === "number" ? seq : undefined,
      run: at(input, "run"),
      local: false,
      acted: true,
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
    const acted = at(about, "backoff") === null && at(marker, "failure") === null && !isPutOff(at(marker, "details"));
    const activity = `${execution}/${textOf(at(about, "activity_id"))}`;
    return [{ execution, activity, type: textOf(type), seq: undefined, run: null, local: true, acted }];
  } catch {
    return [];
  }
}

/** Whether a local activity's result says that nothing was done: frozen, waiting for people, or halted. What cannot be read says nothing. */
function isPutOff(details: Json): boolean {
  const payloads = at(at(details, "result"), "payloads");
  const data = Array.isArray(payloads) ? at((payloads as readonly Json[])[0] ?? null, "data") : null;
  if (typeof data !== "string") return false;
  try {
    const status = at(JSON.parse(Buffer.from(data, "base64").toString("utf8")) as Json, "status");
    return status === "frozen" || status === "waiting" || status === "halted";
  } catch {
    return false;
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
