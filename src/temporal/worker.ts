import { hostname } from "node:os";

import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import type { LogLevel } from "@temporalio/worker";
import type { Logger } from "pino";

import {
  answeredActivities,
  lifecycleActivities,
  modelActivity,
  retrievalActivity,
  toolActivity,
} from "../../activities/index.ts";
import type { CallAnswerer } from "../../activities/index.ts";
import { noFacts } from "../core/decision.ts";
import type { RunFacts } from "../core/decision.ts";
import type { Digest } from "../core/ids.ts";
import type { TokenPrice } from "../core/money.ts";
import { createGate, createRunCache, isGate, settleGate } from "../gate/index.ts";
import type { GovernedModelCall } from "../gate/index.ts";
import type { Cosigners } from "../ledger/index.ts";
import type { DetectorOptions, RemoteOptions } from "../policy/index.ts";
import type { ModelProvider } from "../providers/index.ts";
import { createPool, publishDelta } from "../store/index.ts";
import type { PayloadKeys, Pool } from "../store/index.ts";
import { bundleWorkflows, keepBundle, TemporalError } from "./bundle.ts";
import type { WorkflowBundle } from "./bundle.ts";
import { converterWith, createPayloadCodec } from "./codec.ts";

export type AgentWorkerOptions = {
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly taskQueue: string;
  readonly databaseUrl: string;
  readonly keys: PayloadKeys;
  readonly provider: ModelProvider;
  readonly priceOf: (model: string) => TokenPrice | undefined;
  /** Folders whose tools and sources this worker may run. */
  readonly toolRoots: readonly string[];
  readonly logger: Logger;
  /** Where this worker runs, and where its provider computes, as policies see it. Default: `development`, `local`. */
  readonly environment?: RunFacts["environment"];
  /** A decision point that is asked too (OpenID AuthZEN); default: none. */
  readonly remote?: RemoteOptions | undefined;
  /** Another detector of personal data (a Presidio analyzer); default: none. */
  readonly detector?: DetectorOptions | undefined;
  /** Whose cosignatures count for calls that wait for witnesses; default: nobody's, and such calls are not made. */
  readonly cosigners?: Cosigners | undefined;
  /** Default: true. */
  readonly fastLane?: boolean;
  /** Default: bundled now from `workflows/`. */
  readonly bundle?: WorkflowBundle;
  /** What answers tool calls and retrievals in the place of the release's tools, none of which is loaded then: a fork's record. */
  readonly answerCalls?: CallAnswerer;
  /** See `GateOptions`. */
  readonly historyBeyond?: Readonly<Record<string, number>>;
  /** How many runs are kept in memory at most, those that wait included; the rest is replayed when it wakes. Default: by the heap's size. */
  readonly maxCachedWorkflows?: number;
  /** In the place of this machine's clock, and of Postgres' for what is decided. */
  readonly now?: () => Date;
};

export type AgentWorker = {
  readonly bundleDigest: Digest;
  /** Finishes the steps under way, then stops. */
  stop(): Promise<void>;
  /** Rejects when the worker breaks down; pending while it runs. */
  readonly failed: Promise<never>;
  /** How many runs are in memory now. */
  cachedWorkflows(): number;
};

/** Steps at once in one worker. */
const maxConcurrentSteps = 100;
/** Heartbeats go out as the gate gives them: held back for most of the time-out, as by default, one late one would have a living step given up. */
const maxHeartbeatThrottleInterval = "1s";
/** Time for steps under way when the worker stops. */
const shutdownGraceTime = "10s";

/** Starts a worker that runs agents, with the gate before every activity. Throws `temporal_unavailable`, or what the store throws. */
export async function startWorker(options: AgentWorkerOptions): Promise<AgentWorker> {
  installRuntime(options.logger);
  const now = options.now ?? (() => new Date());
  const pool = createPool({ url: options.databaseUrl, max: 20 });
  const bundle = options.bundle ?? (await bundleWorkflows());
  await keepBundle(pool, bundle);
  const connection = await connect(options.temporal.address);
  const publisher = createPublisher(pool, options.logger);
  const cache = createRunCache(pool, options.keys);
  const gateOptions = {
    pool,
    cache,
    keys: options.keys,
    priceOf: options.priceOf,
    environment: options.environment ?? noFacts.environment,
    remote: options.remote,
    detector: options.detector,
    cosigners: options.cosigners,
    fastLane: options.fastLane ?? true,
    historyBeyond: options.historyBeyond,
    now,
    clock: options.now,
  };
  const gate = createGate({ ...gateOptions, logger: options.logger });
  const worker = await Worker.create({
    connection,
    namespace: options.temporal.namespace,
    taskQueue: options.taskQueue,
    // Every event of a started activity repeats it: short, and enough to find the process.
    identity: `${process.pid}@${hostname().slice(0, 16)}`,
    workflowBundle: { code: bundle.code },
    dataConverter: converterWith(createPayloadCodec(pool, options.keys)),
    activities: {
      model: modelActivity(options.provider, (call, text) => publisher.publish(call, text)),
      ...callActivities(options),
      ...lifecycleActivities({
        pool,
        cache,
        bundle: bundle.digest,
        cosigners: options.cosigners,
        now,
        clock: options.now,
      }),
    },
    interceptors: { activity: [gate] },
    // Replays listen to it; a live run must not complain that nobody does.
    sinks: { replay: { scheduled: { fn: () => undefined } } },
    maxConcurrentActivityTaskExecutions: maxConcurrentSteps,
    maxConcurrentLocalActivityExecutions: maxConcurrentSteps,
    maxHeartbeatThrottleInterval,
    shutdownGraceTime,
    ...(options.maxCachedWorkflows === undefined ? {} : { maxCachedWorkflows: options.maxCachedWorkflows }),
  });
  assertOneGate(worker);
  const running = worker.run();
  const failed = running.then(() => new Promise<never>(() => undefined));
  failed.catch((error: unknown) => options.logger.error({ err: error }, "worker failed"));
  return {
    bundleDigest: bundle.digest,
    failed,
    cachedWorkflows: () => worker.getStatus().numCachedWorkflows,
    stop: once(async () => {
      if (worker.getState() === "RUNNING") worker.shutdown();
      await running.catch(() => undefined);
      await publisher.drained();
      await settleGate(gate);
      await connection.close();
      await pool.end();
    }),
  };
}

function callActivities({ answerCalls, toolRoots }: AgentWorkerOptions) {
  if (answerCalls !== undefined) return answeredActivities(answerCalls);
  return { tool: toolActivity(toolRoots), retrieval: retrievalActivity(toolRoots) };
}

/** A second call waits for what the first one does. */
function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined;
  return () => (begun ??= work());
}

/** What the worker will really run is looked at, plugins' changes included: a gate twice decides twice, and none decides nothing. */
function assertOneGate(worker: Worker): void {
  const gates = worker.options.interceptors.activity.filter(isGate);
  if (gates.length !== 1)
    throw new TemporalError("gate_missing", `worker has ${gates.length} gates, expected exactly one`);
}

async function connect(address: string): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect({ address });
  } catch (cause) {
    throw new TemporalError("temporal_unavailable", `no Temporal server answers at \`${address}\``, {
      cause,
      hint: "check TEMPORAL_ADDRESS, or unset it to use the embedded server",
    });
  }
}

/** Pieces of answers go out every 50 ms, in order, and never hold up the model call. */
function createPublisher(pool: Pool, logger: Logger) {
  const buffers = new Map<string, { run: GovernedModelCall["run"]["id"]; seq: number; text: string }>();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> = Promise.resolve();

  function flush(): void {
    timer = undefined;
    const ready = [...buffers.values()];
    buffers.clear();
    sending = sending
      .then(async () => {
        for (const delta of ready) await publishDelta(pool, delta);
      })
      // Watching is a convenience: the answer itself is recorded when it is whole.
      .catch((error: unknown) => logger.debug({ err: error }, "tokens could not be published"));
  }

  return {
    publish(call: GovernedModelCall, text: string): void {
      const key = `${call.run.id}.${call.seq}`;
      const buffered = buffers.get(key);
      buffers.set(key, { run: call.run.id, seq: call.seq, text: (buffered?.text ?? "") + text });
      timer ??= setTimeout(flush, 50);
    },
    async drained(): Promise<void> {
      if (timer !== undefined) clearTimeout(timer);
      flush();
      await sending;
    },
  };
}

let installed = false;

/** Temporal's own log goes where ours goes. Once per process: where another part of it was first, its logger stays. */
function installRuntime(logger: Logger): void {
  if (installed) return;
  installed = true;
  const levels: Record<LogLevel, "trace" | "debug" | "info" | "warn" | "error"> = {
    TRACE: "trace",
    DEBUG: "debug",
    INFO: "debug",
    WARN: "warn",
    ERROR: "error",
  };
  try {
    Runtime.install({
      logger: new DefaultLogger("WARN", ({ level, message }) => logger[levels[level]]({ source: "temporal" }, message)),
      // What the native part has to say goes where the rest goes: of itself it writes to stdout, into a command's one JSON document.
      telemetryOptions: { logging: { filter: { core: "WARN", other: "ERROR" }, forward: {} } },
      shutdownSignals: [],
    });
  } catch (error) {
    logger.debug({ err: error }, "temporal keeps its own logger");
  }
}
