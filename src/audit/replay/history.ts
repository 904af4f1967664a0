import { stepKinds } from "../../core/action.ts";
import type { Json } from "../../core/json.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { at, eventsOf, executionHasEnded, hasEnded, linkProblems, scheduledInput } from "./history-events.ts";
import type { Scheduled } from "./history-events.ts";
import { lostExecutions } from "./losses.ts";
import { check, notChecked } from "../report.ts";
import type { Replayers } from "./replayers.ts";
import type { AuditCheck } from "../report.ts";

/**
 * Executes the recorded workflow code again on the recorded histories. Temporal compares the kinds of commands only, and passes a history
 * that was cut off, so what the code schedules is listened to and compared with the recorded inputs, steps and end, both ways, and the
 * histories have to be this run's, whole and linked.
 */
export async function checkHistory(
  record: RunRecord,
  bundleCode: string | undefined,
  replayers: Replayers,
): Promise<AuditCheck> {
  if (bundleCode === undefined) return notChecked("history", "the workflow code of this run is not kept");
  if (record.histories.length === 0) return notChecked("history", "the run has no recorded history");
  // Other code is not evidence, and is not executed.
  if (replayers.digestOf(bundleCode) !== record.run.workflowBundle)
    return check("history", "", ["the workflow code is not the one that the run is recorded to have run"]);
  const scheduled: Scheduled[] = [];
  /** What executions asked for that are over: it was all decided on, or its run was stopped. */
  const over: Scheduled[] = [];
  const problems = [...linkProblems(record)];
  const lost = lostExecutions(record).length;
  for (const [index, { history }] of record.histories.entries()) {
    if (history === null) continue;
    const again = await replayers.of(bundleCode).replay(record.run.id, history);
    scheduled.push(...again.scheduled);
    if (executionHasEnded(history)) over.push(...again.scheduled);
    if (again.problem !== undefined) problems.push(`execution ${index}: ${again.problem}`);
  }
  const whole = hasEnded(record);
  problems.push(...compareInputs(record, scheduled));
  // What a lost part asked for is not known; what the others asked for is recorded all the same.
  if (lost === 0) problems.push(...unaskedSteps(record, scheduled, whole));
  problems.push(...unrecordedSteps(record, over));
  if (whole) problems.push(...compareEnd(record, scheduled));
  const events = record.histories.reduce((sum, { history }) => sum + eventsOf(history).length, 0);
  if (problems.length === 0 && lost > 0)
    return notChecked(
      "history",
      `${lost} of ${record.histories.length} are lost: Temporal had deleted them before they were archived`,
    );
  if (problems.length === 0 && !whole && record.run.closedAt !== null)
    return notChecked(
      "history",
      "it stops before the run's end: either it was read too early, or the rest was cut off",
    );
  return check("history", `${events} events, ${scheduled.length} activities executed again`, problems);
}

/** The inputs of ordinary activities are in the history; those of local ones are not. */
function compareInputs(record: RunRecord, scheduled: readonly Scheduled[]): readonly string[] {
  const recorded = record.histories.flatMap(({ history }) => eventsOf(history)).flatMap(scheduledInput);
  const again = new Set(scheduled.map(fingerprint));
  const foreign = scheduled.filter(({ args }) => at(args[0] ?? null, "run") !== record.run.id);
  return [
    ...recorded
      .filter((input) => !again.has(fingerprint(input)))
      .map((input) => `activity \`${input.activityType}\` is recorded with an input that the code does not give`),
    ...foreign.map(({ activityType }) => `activity \`${activityType}\` is asked for on behalf of another run`),
  ];
}

function fingerprint({ activityType, args }: Scheduled): string {
  return JSON.stringify([activityType, args]);
}

/** Every recorded step was asked for, by the same call of the same model step. */
function unaskedSteps(record: RunRecord, scheduled: readonly Scheduled[], whole: boolean): readonly string[] {
  const asked = new Set(stepsAskedFor(scheduled));
  const last = Math.max(-1, ...scheduled.map(({ args }) => Number(at(args[0] ?? null, "seq") ?? -1)));
  return (
    record.steps
      .map((step) => ({ seq: step.seq, name: recordedName(step) }))
      // What runs in the worker's own task is recorded before Temporal has it.
      .filter(({ name, seq }) => !asked.has(name) && (whole || seq <= last))
      .map(({ name }) => `${name}: recorded, but the workflow never asked for it`)
  );
}

/**
 * Every step that executions which are over asked for is recorded. One that a limit or a cancellation stopped was asked for and never
 * decided; so may be one that is under way.
 */
function unrecordedSteps(record: RunRecord, over: readonly Scheduled[]): readonly string[] {
  if (record.run.failure?.code.startsWith("limit_") === true || record.run.status === "cancelled") return [];
  const names = new Set(record.steps.map(recordedName));
  return [...new Set(stepsAskedFor(over))]
    .filter((name) => !names.has(name))
    .map((name) => `${name}: asked for, but not recorded`);
}

function stepsAskedFor(scheduled: readonly Scheduled[]): readonly string[] {
  return scheduled
    .filter(({ activityType }) => (stepKinds as readonly string[]).includes(activityType))
    .map(({ activityType, args: [input = null] }) =>
      stepName(activityType, at(input, "seq"), at(input, "model"), at(input, "call")),
    );
}

function recordedName({ kind, seq, askedBy, callIndex }: RunRecord["steps"][number]): string {
  return stepName(kind, seq, askedBy, callIndex);
}

function stepName(kind: string, seq: Json, model: Json, call: Json): string {
  return model === null
    ? `${kind} ${JSON.stringify(seq)}`
    : `${kind} ${JSON.stringify(seq)} (call ${JSON.stringify(call)} of ${JSON.stringify(model)})`;
}

/** How the workflow ended the run, which is more than the ledger says: the failure's message. */
function compareEnd({ run }: RunRecord, scheduled: readonly Scheduled[]): readonly string[] {
  const closing = scheduled.findLast(({ activityType }) => activityType === "closeRun")?.args[0];
  if (run.closedAt === null) return [];
  if (closing === undefined) return ["the run is closed, but its workflow did not close it"];
  const failure = at(closing, "failure");
  const asked = [at(closing, "status"), at(failure, "code"), at(failure, "message")];
  const recorded = [run.status, run.failure?.code ?? null, run.failure?.message ?? null];
  return JSON.stringify(asked) === JSON.stringify(recorded)
    ? []
    : ["the run is recorded to have ended otherwise than its workflow ended it"];
}
