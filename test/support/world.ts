import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { TestContext } from "vitest";
import {
  addReviewerKey,
  decideRequest,
  editKind,
  editRequest,
  listRequests,
  outcomesOf,
  publicKeyOf,
  resolutionFacts,
  resolutionKind,
  resolveOutcome,
  signStatement,
  signText,
  statementFacts,
  statementText,
  textOfSigned,
} from "../../src/approvals/index.ts";
import type {
  ApprovalRequest,
  ApprovalStatement,
  EditStatement,
  ResolutionStatement,
  UnknownOutcome,
} from "../../src/approvals/index.ts";
import type { Action } from "../../src/core/action.ts";
import type { HistoryFact } from "../../src/core/decision.ts";
import { peopleLog } from "../../src/core/ids.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json, JsonObject, JsonSchema } from "../../src/core/json.ts";
import type { RunLimits } from "../../src/core/release.ts";
import type { RetrievalSource } from "../../src/core/retrieval.ts";
import type { RunInput } from "../../src/core/run.ts";
import { appendToOutbox, logSize } from "../../src/ledger/index.ts";
import {
  createModelProvider,
  defineScript,
  priceOf,
  scriptSource,
  startScriptedModel,
} from "../../src/providers/index.ts";
import type { ScriptInput } from "../../src/providers/index.ts";
import { putPrincipal, registerRelease, releaseOfDocument } from "../../src/registry/index.ts";
import { keyAdded } from "../../src/server/index.ts";
import { contentDigest, inTransaction, putPayloads, sealingOf, runById, stepsOf } from "../../src/store/index.ts";
import type { RunRow } from "../../src/store/index.ts";
import { approvalEdited } from "../../src/server/ledger-events.ts";
import { connectTemporal, createPayloadCodec, startAgentRun, startWorker, wakeRun } from "../../src/temporal/index.ts";
import type { AgentWorker, AgentWorkerOptions } from "../../src/temporal/index.ts";
import { loadToolModule } from "../../src/tools/index.ts";
import { testBundle, testBundleFile } from "./bundle.ts";
import { freshDatabase } from "./database.ts";
import { freshTaskQueue, testTemporal } from "./temporal.ts";
import { activatePolicies, registerRun } from "./test-records.ts";
import { testKeys } from "./test-server.ts";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));

export const openPolicy = `
@id("all") permit(principal, action, resource);
@id("pay-needs-a-person") @decision("require_approval") @group("treasury") @quorum("1") @expires("1h") @reason("payments over 50 need a person")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 5000 };
@id("pay-limit") @reason("payments over 500 are never made")
forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 50000 };
`;

export type World = Awaited<ReturnType<typeof createWorld>>;

/** A team with one agent, whose model plays `script`; everything but the model is the real thing. */
export async function createWorld(options: {
  readonly turns: ScriptInput["branches"][number]["turns"];
  /** Branches of the script that come before the one with these turns. */
  readonly branches?: ScriptInput["branches"];
  readonly policy?: string;
  readonly output?: JsonSchema;
  readonly limits?: Partial<RunLimits>;
  readonly prices?: AgentWorkerOptions["priceOf"];
  /** With the sources of the fixtures, and these. */
  readonly retrieval?: readonly RetrievalSource[];
  /** Workers that die are missed after five seconds, not twelve. */
  readonly hasty?: boolean;
  /** The test's own, where tests run at once. */
  readonly onTestFinished?: TestContext["onTestFinished"];
}) {
  const database = await freshDatabase();
  const keys = testKeys;
  const temporal = await connectTemporal({ ...testTemporal(), codec: createPayloadCodec(database.pool, keys) });
  const taskQueue = freshTaskQueue();
  const folder = await mkdtemp(join(tmpdir(), "countersign-world-"));
  const script = defineScript({
    v: 1,
    model: "scripted/test",
    branches: [...(options.branches ?? []), { name: "all", when: "^go$", turns: options.turns }],
  });
  const model = await startScriptedModel({ scripts: [scriptSource([script])] });
  const workers: AgentWorker[] = [];
  (options.onTestFinished ?? onTestFinished)(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    await model.close();
    await temporal.close();
    await database.close();
    await rm(folder, { recursive: true, force: true });
  });
  const { pool } = database;
  const now = new Date();
  const tools = (await loadToolModule("tools.ts", [fixtures])).map(({ definition }) => definition);
  const papers = options.retrieval === undefined ? [] : await loadToolModule("sources.ts", [fixtures]);
  const retrieval = papers.flatMap(({ definition: { source, implementation } }) =>
    source === undefined ? [] : [{ ...source, implementation }],
  );
  const release = releaseOfDocument({
    v: 1,
    team: "testers",
    agent: "tester",
    useCase: "testing",
    riskTier: "minimal",
    model: { name: "scripted/test", maxOutputTokens: 200 },
    prompt: "Do what you are told.",
    tools,
    ...(options.retrieval === undefined ? {} : { retrieval: [...retrieval, ...options.retrieval] }),
    limits: { maxSteps: 40, maxCostMicroUsd: 1_000_000, maxWallClockMs: 600_000, ...options.limits },
    ...(options.output === undefined ? {} : { output: options.output }),
  });
  await registerRelease(pool, release, "operator", now);
  const activate = async (text: string, history: readonly HistoryFact[] = []): Promise<void> => {
    await activatePolicies(pool, "testers", text, new Date(), history);
  };
  await activate(options.policy ?? openPolicy);

  const workerOptions = async (): Promise<AgentWorkerOptions> => ({
    temporal: testTemporal(),
    taskQueue,
    databaseUrl: database.url,
    keys,
    provider: createModelProvider({ baseUrl: model.url, apiKey: "scripted", timeoutMs: 10_000 }),
    priceOf: options.prices ?? ((name) => priceOf(name)),
    toolRoots: [fixtures],
    logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
    bundle: await testBundle(options.hasty),
  });

  async function reviewer(id: string, groups: readonly string[] = ["treasury"], person?: string) {
    const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    await putPrincipal(pool, {
      id,
      displayName: id,
      roles: ["reviewer"],
      groups,
      ...(person === undefined ? {} : { person }),
    });
    const { keyId, key } = await addReviewerKey(pool, {
      principal: id,
      publicKey: publicKeyOf(privateKey),
      addedBy: "admin",
      now: new Date(),
    });
    await appendToOutbox(pool, [keyAdded(key)]);
    const statementFor = (request: ApprovalRequest, decision: "approve" | "deny", reason = ""): ApprovalStatement => ({
      ...statementFacts(request),
      decision,
      reviewer: id,
      reason,
      nonce: Buffer.alloc(16, 1).toString("base64url"),
      issuedAt: new Date().toISOString(),
    });
    return {
      id,
      keyId,
      privateKey,
      statementFor,
      /** Changes the call in the database only: the run is not told. `action` is what the request is about. */
      async edit(request: ApprovalRequest, action: Action, args: JsonObject, reason = "") {
        const sealing = await sealingOf(pool, keys, request.run);
        const { salt } = sealing.current;
        const edited = {
          arguments: contentDigest(salt, args),
          action: contentDigest(salt, { ...action, arguments: args } as unknown as Json),
        };
        const statement = textOfSigned({
          ...statementFacts(request),
          type: editKind.type,
          arguments: edited.arguments,
          edited: edited.action,
          reviewer: id,
          reason,
          nonce: Buffer.alloc(16, 1).toString("base64url"),
          issuedAt: new Date().toISOString(),
        } as EditStatement);
        const signed = { statement, signature: signText(editKind.type, statement, privateKey), keyId };
        return inTransaction(pool, async (tx) => {
          await putPayloads(tx, sealing, [args]);
          const now = new Date();
          const outcome = await editRequest(tx, signed, edited, id, now);
          await appendToOutbox(tx, [
            approvalEdited(
              outcome.request,
              { ...edited, persons: outcome.persons, capacity: outcome.capacity },
              signed,
              id,
              now,
              await logSize(tx, peopleLog),
            ),
          ]);
          return outcome;
        });
      },
      /** Says in the database only what became of a call: the run is not told. */
      async resolve(
        outcome: UnknownOutcome,
        said: ResolutionStatement["outcome"],
        reason: string,
        subject: readonly string[] = [],
      ) {
        const statement = textOfSigned({
          ...resolutionFacts(outcome),
          outcome: said,
          reviewer: id,
          reason,
          nonce: Buffer.alloc(16, 1).toString("base64url"),
          issuedAt: new Date().toISOString(),
        } as ResolutionStatement);
        const signed = { statement, signature: signText(resolutionKind.type, statement, privateKey), keyId };
        return inTransaction(pool, async (tx) =>
          resolveOutcome(tx, signed, id, { subject, keysSize: await logSize(tx, peopleLog) }, new Date()),
        );
      },
      /** Decides in the database only: the run is not told. */
      async decide(request: ApprovalRequest, decision: "approve" | "deny", reason = "") {
        const statement = statementText(statementFor(request, decision, reason));
        const client = await pool.connect();
        try {
          await client.query("begin");
          const decided = await decideRequest(
            client as never,
            { statement, signature: signStatement(statement, privateKey), keyId },
            id,
            new Date(),
          );
          await client.query("commit");
          return decided;
        } catch (error) {
          await client.query("rollback");
          throw error;
        } finally {
          client.release();
        }
      },
    };
  }

  return {
    pool,
    databaseUrl: database.url,
    keys,
    folder,
    release,
    taskQueue,
    client: temporal.client,
    modelUrl: model.url,
    effects: join(folder, "effects"),
    reviewer,
    activate,

    async work(changed: Partial<AgentWorkerOptions> = {}): Promise<AgentWorker> {
      const worker = await startWorker({ ...(await workerOptions()), ...changed });
      workers.push(worker);
      return worker;
    },

    async register(input: Partial<RunInput> = {}): Promise<RunId> {
      const full = { prompt: "go", ...input, tags: { effects: join(folder, "effects"), ...input.tags } };
      return registerRun(pool, keys, release, full, new Date());
    },

    async start(input: Partial<RunInput> = {}): Promise<RunId> {
      const run = await this.register(input);
      await startAgentRun(temporal.client, { run, taskQueue });
      return run;
    },

    async closed(run: RunId, timeoutMs = 40_000): Promise<RunRow> {
      return until(async () => {
        const row = await runById(pool, run);
        return row === undefined || row.closedAt === null ? undefined : row;
      }, timeoutMs);
    },

    async request(run: RunId, timeoutMs = 20_000): Promise<ApprovalRequest> {
      return until(async () => (await listRequests(pool, { run, state: "pending", limit: 1 }))[0], timeoutMs);
    },

    /** The call of a run whose outcome somebody is asked about. */
    async unknown(run: RunId, timeoutMs = 20_000): Promise<UnknownOutcome> {
      return until(async () => (await outcomesOf(pool, run))[0], timeoutMs);
    },

    /** What a worker in a process of its own needs to be started. */
    processOptions: async () => ({
      ...testTemporal(),
      taskQueue,
      databaseUrl: database.url,
      modelUrl: model.url,
      toolRoots: [fixtures],
      bundle: testBundleFile(options.hasty),
    }),

    /** What a request for a call of a tool is about, as the agent asked. */
    actionOf: (request: ApprovalRequest, args: JsonObject): Action => ({
      v: 1,
      team: "testers",
      agent: "tester",
      release: release.digest,
      run: request.run,
      seq: request.seq,
      kind: "tool",
      name: request.name,
      arguments: args,
    }),

    wake: (run: RunId, request: ApprovalRequest) => wakeRun(temporal.client, run, request.id),
    states: async (run: RunId) => (await stepsOf(pool, run)).map((step) => `${step.name}:${step.state}`),
  };
}

/** Polls until `look` finds something. */
export async function until<Found>(look: () => Promise<Found | undefined>, timeoutMs = 20_000): Promise<Found> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`nothing within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
