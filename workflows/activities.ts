import { proxyActivities, proxyLocalActivities } from "@temporalio/workflow";

import type { LifecycleActivities, StepActivities } from "../src/core/contract.ts";

/**
 * Attempts are not limited here: the gate counts how often an effect was begun and makes its failure final. What is left to retry is
 * a gate that could not decide or record (Postgres is down), and that must wait, not fail the run.
 */
const retry = { initialInterval: "1s", backoffCoefficient: 2, maximumInterval: "30s" } as const;

const ordinary = proxyActivities<StepActivities>({
  startToCloseTimeout: "15m",
  // The gate heartbeats four times as often: a worker that died is noticed after this.
  heartbeatTimeout: "12s",
  cancellationType: "WAIT_CANCELLATION_COMPLETED",
  retry,
});

/** The fast lane: one marker in the history instead of six events, for calls that are short and harmless to run again. */
const local = proxyLocalActivities<StepActivities>({
  startToCloseTimeout: "45s",
  // Longer pauses are timers of the workflow, so that a local activity cannot hold its workflow task for ever.
  localRetryThreshold: "5s",
  cancellationType: "WAIT_CANCELLATION_COMPLETED",
  retry,
});

export const steps = {
  model: ordinary.model,
  tool: { ordinary: ordinary.tool, local: local.tool },
  retrieval: { ordinary: ordinary.retrieval, local: local.retrieval },
};

const bookkeeping = proxyLocalActivities<LifecycleActivities>({
  startToCloseTimeout: "30s",
  localRetryThreshold: "5s",
  retry,
});

/** Ordinary: however often Temporal tries it again, it is one activity in the history, and cancelled at once. */
const thaw = proxyActivities<LifecycleActivities>({
  startToCloseTimeout: "30s",
  cancellationType: "TRY_CANCEL",
  retry,
});

export const lifecycle = {
  openRun: bookkeeping.openRun,
  closeRun: bookkeeping.closeRun,
  awaitThaw: thaw.awaitThaw,
};
