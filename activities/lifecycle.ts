import { activityInfo } from "@temporalio/activity";
import type { z } from "zod";

import { awaitThawInput, closeRunInput, openRunInput } from "../src/core/contract.schema.ts";
import type { CloseRunInput, LifecycleActivities } from "../src/core/contract.ts";
import type { RunId } from "../src/core/ids.ts";
import { awaitThaw, closeRun, GateError, openRun } from "../src/gate/index.ts";

type LifecycleOptions = Parameters<typeof openRun>[0] & Parameters<typeof awaitThaw>[0];

/** The bookkeeping at a run's two ends. */
export function lifecycleActivities(options: LifecycleOptions): LifecycleActivities {
  return {
    async openRun(input) {
      const { run } = parsed(openRunInput, input);
      return openRun(options, run, ownRun(run));
    },
    async closeRun(input) {
      const ending = parsed(closeRunInput, input);
      ownRun(ending.run);
      return closeRun(options, ending as CloseRunInput);
    },
    async awaitThaw(input) {
      const { run, model, call } = parsed(awaitThawInput, input);
      ownRun(run);
      return awaitThaw(options, run, model === undefined || call === undefined ? undefined : { model, call });
    },
  };
}

function parsed<Output>(schema: z.ZodType<Output>, input: unknown): Output {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new GateError("invalid_step", "the bookkeeping of a run got an input that is not its own");
}

/** A workflow opens and closes its own run only. */
function ownRun(run: RunId): string {
  const execution = activityInfo().workflowExecution;
  if (execution?.workflowId !== run)
    throw new GateError("foreign_run", "a workflow can only open and close its own run");
  return execution.runId;
}
