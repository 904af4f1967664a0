import { Client, Connection, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from "@temporalio/client";

import type { PayloadCodec } from "@temporalio/common";

import { agentWorkflow, approvalDecidedSignal, runStateQuery } from "../core/contract.ts";
import type { AgentWorkflowInput, CarriedState, RunState } from "../core/contract.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import { TemporalError } from "./bundle.ts";
import { converterWith } from "./codec.ts";

/** Long enough for a loaded server, short enough for a person to wait. */
const callTimeoutMs = 10_000;

export type TemporalConnection = { readonly client: Client; close(): Promise<void> };

export async function connectTemporal(options: {
  readonly address: string;
  readonly namespace: string;
  /** Opens what Temporal keeps, and closes what goes there. Without one, nothing that workers wrote can be read. */
  readonly codec?: PayloadCodec;
}): Promise<TemporalConnection> {
  try {
    const connection = await Connection.connect({ address: options.address, connectTimeout: callTimeoutMs });
    const { namespace, codec } = options;
    const dataConverter = codec === undefined ? {} : { dataConverter: converterWith(codec) };
    return { client: new Client({ connection, namespace, ...dataConverter }), close: () => connection.close() };
  } catch (cause) {
    throw new TemporalError("temporal_unavailable", `no Temporal server answers at \`${options.address}\``, {
      cause,
      hint: "check TEMPORAL_ADDRESS, or unset it to use the embedded server",
    });
  }
}

/** Starts the workflow of a registered run. Safe to repeat: a run that is started already is left as it is. */
export async function startAgentRun(
  client: Client,
  options: {
    readonly run: RunId;
    readonly taskQueue: string;
    /** Where the agent loop is taken up, as after continue-as-new: for a fork. Absent: at its beginning. */
    readonly carried?: CarriedState;
  },
): Promise<void> {
  const { run, carried } = options;
  const input: AgentWorkflowInput = carried === undefined ? { run } : { run, carried };
  try {
    await bounded(client, () =>
      client.workflow.start(agentWorkflow, {
        workflowId: options.run,
        taskQueue: options.taskQueue,
        args: [input],
        workflowIdReusePolicy: "REJECT_DUPLICATE",
      }),
    );
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return;
    throw unavailable(error);
  }
}

/** Tells a run that an approval was decided. Throws `run_not_found` where it is closed or was never started. */
export async function wakeRun(client: Client, run: RunId, request: ApprovalId): Promise<void> {
  await known(client, () => client.workflow.getHandle(run).signal(approvalDecidedSignal, request));
}

/**
 * Asks a run to stop. Steps under way come to a recorded end first. Throws `run_not_found` where its workflow is closed (terminated, say)
 * or was never started: Temporal takes the request to cancel a closed one, and does nothing.
 */
export async function cancelRun(client: Client, run: RunId): Promise<void> {
  const handle = client.workflow.getHandle(run);
  const { status } = await known(client, () => handle.describe());
  if (status.name !== "RUNNING") throw new TemporalError("run_not_found", "no such run is open");
  await known(client, () => handle.cancel());
}

export async function queryRunState(client: Client, run: RunId): Promise<RunState> {
  return known(client, () => client.workflow.getHandle(run).query<RunState>(runStateQuery));
}

async function known<Result>(client: Client, call: () => Promise<Result>): Promise<Result> {
  try {
    return await bounded(client, call);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      throw new TemporalError("run_not_found", "no such run is open", { cause: error });
    throw unavailable(error);
  }
}

async function bounded<Result>(client: Client, call: () => Promise<Result>): Promise<Result> {
  return client.connection.withDeadline(Date.now() + callTimeoutMs, call);
}

function unavailable(cause: unknown): TemporalError {
  return new TemporalError("temporal_unavailable", "the Temporal server did not answer", {
    cause,
    hint: "see `countersign doctor`",
  });
}
