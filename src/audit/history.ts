import { stepKinds } from "../core/action.ts";
import type { Json } from "../core/json.ts";
import type { RunRecord } from "../core/run-record.ts";
import { at, eventsOf, hasEnded, linkProblems, scheduledInput } from "./history-events.ts";
import type { Scheduled } from "./history-events.ts";
import { lostExecutions } from "./losses.ts";
import { check, notChecked } from "./report.ts";
import type { Replayers } from "./replayers.ts";
import type { AuditCheck } from "./report.ts";

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
  const problems = [...linkProblems(record)];
  const lost = lostExecutions(record).length;
  for (const [index, { history }] of record.histories.entries()) {
    if (history === null) continue;
    const again = await replayers.of(bundleCode).replay(record.run.id, history);
    scheduled.push(...again.scheduled);
    if (again.problem !== undefined) problems.push(`execution ${index}: ${again.problem}`);
  }
  const whole = hasEnded(record);
  problems.push(...compareInputs(record, scheduled));
  // What a lost part asked for is not known.
  if (lost === 0) problems.push(...compareSteps(record, scheduled, whole));
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

/** Every step that the code asks for is recorded, and every recorded step was asked for, by the same call of the same model step. */
function compareSteps(record: RunRecord, scheduled: readonly Scheduled[], whole: boolean): readonly string[] {
  const asked = new Set(
    scheduled
      .filter(({ activityType }) => (stepKinds as readonly string[]).includes(activityType))
      .map(({ activityType, args: [input = null] }) => {
        return stepName(activityType, at(input, "seq"), at(input, "model"), at(input, "call"));
      }),
  );
  const recorded = record.steps.map((step) => ({
    seq: step.seq,
    name: stepName(step.kind, step.seq, step.askedBy, step.callIndex),
  }));
  const names = new Set(recorded.map(({ name }) => name));
  const last = Math.max(-1, ...scheduled.map(({ args }) => Number(at(args[0] ?? null, "seq") ?? -1)));
  const stopped = record.run.failure?.code.startsWith("limit_") === true || record.run.status === "cancelled";
  return [
    ...recorded
      // What runs in the worker's own task is recorded before Temporal has it.
      .filter(({ name, seq }) => !asked.has(name) && (whole || seq <= last))
      .map(({ name }) => `${name}: recorded, but the workflow never asked for it`),
    // A step that a limit or a cancellation stopped was asked for and never decided; so may be one that is under way.
    ...[...asked]
      .filter((name) => !names.has(name) && whole && !stopped)
      .map((name) => `${name}: asked for, but not recorded`),
  ];
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
