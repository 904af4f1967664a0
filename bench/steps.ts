import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";

import { Context } from "@temporalio/activity";
import { WorkflowFailedError } from "@temporalio/client";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import Table from "cli-table3";
import { pino } from "pino";
import { ulid } from "ulid";

import type { RunId } from "../src/core/ids.ts";
import type { Json } from "../src/core/json.ts";
import type { Release } from "../src/core/release.ts";
import { appendToOutbox, createSequencer, createSigner } from "../src/ledger/index.ts";
import { policySetOf } from "../src/policy/index.ts";
import type { ModelProvider } from "../src/providers/index.ts";
import { activatePolicySet, registerRelease, releaseOfDocument } from "../src/registry/index.ts";
import {
  createPool,
  createRun,
  dataKeyOf,
  migrate,
  newRunKey,
  payloadKeysOf,
  putPayloads,
} from "../src/store/index.ts";
import type { PayloadKeys, Pool } from "../src/store/index.ts";
import { policyActivated } from "../src/server/index.ts";
import { connectTemporal, createPayloadCodec, startAgentRun, startWorker } from "../src/temporal/index.ts";
import { loadToolModule } from "../src/tools/index.ts";
import { printGoals } from "./goals.ts";
import { startServers } from "./servers.ts";
import type { BenchServers } from "./servers.ts";
import { inParallel, median } from "./statistics.ts";

const rounds = 5;
const runsPerRound = 48;
const runsAtOnce = 16;
/** A model call and a tool call each; then a last model call answers. */
export const turnsPerRun = 5;
export const stepsPerRun = 2 * turnsPerRun + 1;
const turnCounts = [10, 100, 400] as const;
const answerText =
  "The parcel left the warehouse on Monday and is with the carrier; it should arrive within two working days. ".repeat(
    4,
  );

/**
 * Governed steps a second against the same loop on bare activities, in turns on the same servers, and bytes of history a turn against
 * a loop that passes its conversation. The model answers at once, in process: its time is not what is measured.
 */
export async function benchSteps(print: (line: string) => void): Promise<object> {
  const servers = await startServers(print);
  try {
    const governed = await governedSide(servers);
    const bare = await bareSide(servers);
    const sides = {
      "governed, ordinary": (runs: number) => governed.round("slow", runs),
      "bare, ordinary": (runs: number) => bare.round(false, runs),
      "governed, fast lane": (runs: number) => governed.round("fast", runs),
      "bare, local activities": (runs: number) => bare.round(true, runs),
    };
    const rates = await measure(sides, print);
    const bytes = await measureBytes(governed, bare);
    await bare.stop();
    await governed.stop();
    return report(rates, bytes, print);
  } finally {
    await servers.stop();
  }
}

type Rates = Readonly<Record<string, readonly number[]>>;

async function measure(
  sides: Readonly<Record<string, (runs: number) => Promise<void>>>,
  print: (line: string) => void,
): Promise<Rates> {
  for (const side of Object.values(sides)) await side(runsAtOnce);
  const rates: Record<string, number[]> = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, side] of Object.entries(sides)) {
      const start = performance.now();
      await side(runsPerRound);
      rates[name]?.push((runsPerRound * stepsPerRun) / ((performance.now() - start) / 1_000));
    }
    print(
      `round ${round} of ${rounds}: ${Object.entries(rates)
        .map(([name, all]) => `${name} ${Math.round(all.at(-1) ?? 0)}/s`)
        .join(", ")}`,
    );
  }
  return rates;
}

type Bytes = {
  readonly governed: Record<string, number>;
  readonly governedFast: Record<string, number>;
  readonly conversation: Record<string, number>;
};

async function measureBytes(governed: GovernedSide, bare: BareSide): Promise<Bytes> {
  const bytes: Bytes = { governed: {}, governedFast: {}, conversation: {} };
  for (const turns of turnCounts) {
    bytes.governed[turns] = Math.round((await governed.historyBytes("slow", turns)) / turns);
    bytes.governedFast[turns] = Math.round((await governed.historyBytes("fast", turns)) / turns);
    const whole = await bare.conversationBytes(turns);
    if (whole !== undefined) bytes.conversation[turns] = Math.round(whole / turns);
  }
  return bytes;
}

type Lane = "slow" | "fast";
export type GovernedSide = Awaited<ReturnType<typeof governedSide>>;
type BareSide = Awaited<ReturnType<typeof bareSide>>;

export async function governedSide(servers: BenchServers) {
  const toolRoots = [fileURLToPath(new URL(".", import.meta.url))];
  const pool = createPool({ url: servers.databaseUrl });
  await migrate(pool);
  const keys = payloadKeysOf(Buffer.alloc(32, 1));
  const temporal = await connectTemporal({ ...servers.temporal, codec: createPayloadCodec(pool, keys) });
  const { client } = temporal;
  const pinned = await release(pool, toolRoots);
  const { document } = policySetOf([{ name: "bench.cedar", text: '@id("all") permit(principal, action, resource);' }]);
  await activate(pool, document as unknown as Json);
  const workerFor = (lane: Lane) =>
    startWorker({
      temporal: servers.temporal,
      taskQueue: lane,
      databaseUrl: servers.databaseUrl,
      keys,
      provider: modelOf(),
      priceOf: () => ({ inputPerMillion: 1, cachedInputPerMillion: 1, outputPerMillion: 1 }),
      toolRoots,
      fastLane: lane === "fast",
      logger: pino({ level: "warn" }),
    });
  const workers = [await workerFor("slow"), await workerFor("fast")];
  const sequencer = createSequencer({
    pool,
    originOf: (log) => `bench/${log}`,
    signers: (log) => [createSigner(`bench/${log}`, Buffer.alloc(32, 2))],
    onError: (error) => void process.stderr.write(`ledger: ${String(error)}\n`),
  });
  sequencer.start();
  const run = async (lane: Lane, turns: number): Promise<RunId> => {
    const id = await startRun(pool, keys, client, pinned, lane, turns);
    await client.workflow.getHandle(id).result();
    return id;
  };
  return {
    pool,
    keys,
    client,
    run,
    sequencer,
    round: (lane: Lane, runs: number) => inParallel(runs, runsAtOnce, async () => void (await run(lane, turnsPerRun))),
    historyBytes: async (lane: Lane, turns: number) => historyBytes(client, await run(lane, turns)),
    stop: async () => {
      await Promise.all(workers.map((worker) => worker.stop()));
      await sequencer.stop();
      await temporal.close();
      await pool.end();
    },
  };
}

/** As the server does: decisions are held against the ledger's word of what was in force. */
async function activate(pool: Pool, document: Json): Promise<void> {
  const now = new Date();
  const { digest, activation = 0 } = await activatePolicySet(pool, "bench", document, "bench", now);
  await appendToOutbox(pool, [policyActivated("bench", digest, activation, "bench", now)]);
}

async function release(pool: Pool, toolRoots: readonly string[]): Promise<Release> {
  const tools = await loadToolModule("tools.ts", toolRoots);
  const made = releaseOfDocument({
    v: 1,
    team: "bench",
    agent: "bench",
    useCase: "bench",
    riskTier: "minimal",
    model: { name: "bench", maxOutputTokens: 100 },
    prompt: "You measure.",
    tools: tools.map(({ definition }) => definition),
    limits: { maxSteps: 10_000, maxCostMicroUsd: 1_000_000_000, maxWallClockMs: 3_600_000 },
  });
  await registerRelease(pool, made, "bench", new Date());
  return made;
}

async function startRun(
  pool: Pool,
  keys: PayloadKeys,
  client: Client,
  { digest, document }: Release,
  lane: Lane,
  turns: number,
): Promise<RunId> {
  const id = `run_${ulid()}` as RunId;
  const now = new Date();
  const dataKey = await dataKeyOf(pool, keys, "", now);
  const { sealing, sealedKey } = newRunKey(dataKey, id);
  const [input] = await putPayloads(pool, sealing, [
    { prompt: `${turns} turns, please`, tags: { nonce: randomUUID() } },
  ]);
  if (input === undefined) throw new Error("no input");
  const { team, agent, limits } = document;
  await createRun(pool, {
    id,
    team,
    agent,
    release: digest,
    input,
    requestedBy: "bench",
    limits,
    contents: { dataKey: dataKey.id, sealedKey },
    now,
  });
  await startAgentRun(client, { run: id, taskQueue: lane });
  return id;
}

/** Calls the tool until the run has had its turns. */
function modelOf(): ModelProvider {
  return {
    async complete({ messages }) {
      const user = messages[1];
      const turns = Number.parseInt(user?.role === "user" ? user.content : "0", 10);
      const taken = messages.filter((message) => message.role === "assistant").length;
      const usage = { input: 100, cachedInput: 0, output: 20, reasoning: 0 };
      if (taken >= turns) return { content: "done", toolCalls: [], finishReason: "stop", usage };
      return {
        content: answerText,
        toolCalls: [{ id: `call_${taken}`, name: "touch", arguments: JSON.stringify({ thing: `parcel ${taken}` }) }],
        finishReason: "tool_calls",
        usage,
      };
    },
  };
}

async function historyBytes(client: Client, workflowId: string): Promise<number> {
  let total = 0;
  for await (const execution of client.workflow.list({ query: `WorkflowId = '${workflowId}'` })) {
    const { historySize } = await client.workflow.getHandle(workflowId, execution.runId).describe();
    total += historySize ?? 0;
  }
  if (total === 0) throw new Error("the run is not visible yet");
  return total;
}

async function bareSide(servers: BenchServers) {
  const temporal = await connectTemporal(servers.temporal);
  const { client } = temporal;
  const connection = await NativeConnection.connect({ address: servers.temporal.address });
  const message = { role: "assistant", content: answerText };
  // Heartbeats as the gate sends them, so that both sides have the same activities.
  const activity = async <Result>(result: Result): Promise<Result> => {
    const timer = setInterval(() => Context.current().heartbeat(), 3_000);
    await Promise.resolve();
    clearInterval(timer);
    return result;
  };
  const worker = await Worker.create({
    connection,
    namespace: servers.temporal.namespace,
    taskQueue: "bare",
    workflowsPath: fileURLToPath(new URL("./workflows/index.ts", import.meta.url)),
    activities: {
      model: () => activity({ call: true }),
      tool: () => activity({ status: "done" }),
      modelWithConversation: () => activity(message),
      toolWithConversation: () => activity({ role: "tool", content: answerText }),
    },
  });
  const running = worker.run();
  const execute = async (workflow: string, input: object): Promise<string> => {
    const workflowId = `bare-${randomUUID()}`;
    await client.workflow.execute(workflow, { workflowId, taskQueue: "bare", args: [input] });
    return workflowId;
  };
  return {
    round: (fastLane: boolean, runs: number) =>
      inParallel(
        runs,
        runsAtOnce,
        async (index) => void (await execute("bareAgent", { run: `run ${index}`, turns: turnsPerRun, fastLane })),
      ),
    /** Undefined where the server ended the run: its history had grown over 50 MiB. */
    conversationBytes: async (turns: number) => {
      try {
        return await historyBytes(client, await execute("conversationAgent", { turns }));
      } catch (error) {
        if (error instanceof WorkflowFailedError) return undefined;
        throw error;
      }
    },
    stop: async () => {
      worker.shutdown();
      await running;
      await connection.close();
      await temporal.close();
    },
  };
}

function report(rates: Rates, bytes: Bytes, print: (line: string) => void): object {
  const rate = (name: string): number => median(rates[name] ?? []);
  const ratio = (side: string, other: string): number => {
    // Pairs of one round, since the machine's mood changes between rounds.
    return median((rates[side] ?? []).map((value, round) => value / (rates[other]?.[round] ?? Number.NaN)));
  };
  const speed = new Table({
    head: [`${stepsPerRun}-step runs, ${runsAtOnce} at once`, "steps/s (median)", "against bare"],
    style: { head: [], border: [] },
  });
  speed.push(
    ["bare activities", rate("bare, ordinary").toFixed(0), "1.00"],
    [
      "governed, every step an ordinary activity",
      rate("governed, ordinary").toFixed(0),
      ratio("governed, ordinary", "bare, ordinary").toFixed(2),
    ],
    [
      "governed, short tools in the fast lane",
      rate("governed, fast lane").toFixed(0),
      ratio("governed, fast lane", "bare, ordinary").toFixed(2),
    ],
    [
      "bare, tools as local activities",
      rate("bare, local activities").toFixed(0),
      ratio("bare, local activities", "bare, ordinary").toFixed(2),
    ],
  );
  print(speed.toString());
  const size = new Table({
    head: ["bytes of history a turn", ...turnCounts.map((turns) => `${turns} turns`)],
    style: { head: [], border: [] },
  });
  size.push(
    ["governed, ordinary activities", ...turnCounts.map((turns) => bytes.governed[turns] ?? 0)],
    ["governed, fast lane", ...turnCounts.map((turns) => bytes.governedFast[turns] ?? 0)],
    [
      "whole conversation in every model call",
      ...turnCounts.map((turns) => bytes.conversation[turns] ?? "ended by the server: over 50 MiB"),
    ],
  );
  print(size.toString());
  const against = ratio("governed, ordinary", "bare, ordinary");
  const turns = Math.max(...turnCounts.map((count) => bytes.governed[count] ?? Number.NaN));
  printGoals(print, [
    ["governed steps against bare ones, at least 0.9", against.toFixed(2), against >= 0.9],
    ["bytes of history a turn, at most 2,048", turns, turns <= 2_048],
  ]);
  print(
    `${rounds} rounds in turns after one for warming up, ${runsPerRound} runs of ${stepsPerRun} steps each. Governed runs also have their row written before they start,\n` +
      "and are opened and closed in the record, which counts as no step; the ledger's sequencer runs beside them. The model answers at once in process,\n" +
      "the tool returns at once. Ratios are medians of the rounds' own ratios. History is what the server counts, over continue-as-new.",
  );
  return {
    ratio: ratio("governed, ordinary", "bare, ordinary"),
    stepsPerSecond: rate("governed, ordinary"),
    bareStepsPerSecond: rate("bare, ordinary"),
    bytesPerTurn: bytes.governed,
    fastLane: {
      ratio: ratio("governed, fast lane", "bare, ordinary"),
      stepsPerSecond: rate("governed, fast lane"),
      bytesPerTurn: bytes.governedFast,
    },
  };
}
