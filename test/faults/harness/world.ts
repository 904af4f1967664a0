import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { createClient } from "../../../src/api/index.ts";
import type { ApiClient } from "../../../src/api/index.ts";
import { addReviewerKey, publicKeyOf } from "../../../src/approvals/index.ts";
import type { ReviewerKey } from "../../../src/approvals/index.ts";
import { faultMark, faultMarkText } from "../../../src/faults/index.ts";
import type { Fault } from "../../../src/faults/index.ts";
import {
  appendToOutbox,
  createCosigner,
  loadOrCreateSigners,
  openWitnessState,
  parseVerifierKey,
  startWitness,
} from "../../../src/ledger/index.ts";
import type { SignersOf } from "../../../src/ledger/index.ts";
import { freePort } from "../../../src/dev/index.ts";
import { policySetOf } from "../../../src/policy/index.ts";
import {
  activatePolicySet,
  hashToken,
  moveChannel,
  newToken,
  putPrincipal,
  registerRelease,
  releaseOfDocument,
} from "../../../src/registry/index.ts";
import { keyAdded, policyActivated, releaseRegistered } from "../../../src/server/ledger-events.ts";
import { createPool } from "../../../src/store/index.ts";
import type { Pool } from "../../../src/store/index.ts";
import type { ChildOptions, ChildRole } from "./child.ts";
import { poll } from "./lab.ts";
import type { Lab } from "./lab.ts";
import { FaultLog, supervise } from "./processes.ts";
import type { Supervised } from "./processes.ts";
import { modelName, policy, toolsAt } from "./prompts.ts";
import { isIn } from "./roles.ts";
import type { Seen, ToolCall, Witnessed } from "./tools.ts";

export const teams = ["alpha", "beta"] as const;
export type Team = (typeof teams)[number];
export const logs = [...teams, "people"] as const;

export type Reviewer = {
  readonly id: string;
  readonly client: ApiClient;
  readonly privateKey: string;
  readonly key: ReviewerKey;
};

/** Two teams with an agent each, two reviewers and a witness, on a database, a task queue and keys of their own; its processes can be made to fail. */
export type World = {
  readonly name: string;
  readonly home: string;
  readonly databaseUrl: string;
  readonly pool: Pool;
  readonly operator: ApiClient;
  readonly token: string;
  readonly reviewers: readonly Reviewer[];
  readonly signers: SignersOf;
  readonly calls: readonly ToolCall[];
  readonly witness: { readonly verifierKey: string; stop(): Promise<void>; start(): Promise<void> };
  readonly server: Supervised;
  readonly worker: Supervised;
  readonly logOf: (role: ChildRole) => FaultLog;
  /** Has its processes bear other faults from now on, in logs of their own. */
  arm(faults: readonly Fault[]): Promise<void>;
  readonly optionsOf: (role: ChildRole) => ChildOptions;
  /** Another worker beside, unharmed. */
  addWorker(): Supervised;
  addServer(): Promise<Supervised>;
  close(): Promise<void>;
};

/** Less than the tools' time-out. */
const lookWithinMs = 1_000;

export const originOf = (log: string): string => `localhost/ledger/${log}`;

export async function openWorld(lab: Lab, faults: readonly Fault[]): Promise<World> {
  const name = `w${randomBytes(4).toString("hex")}`;
  const home = join(lab.folder, name);
  await mkdir(join(home, "secrets"), { recursive: true, mode: 0o700 });
  await writeFile(join(home, faultMark), faultMarkText);
  const databaseUrl = await lab.freshDatabase();
  const pool = createPool({ url: databaseUrl, max: 4 });
  const signers = await loadOrCreateSigners(join(home, "secrets", "ledger.pem"));
  const calls = lab.tools.open(name, (key) => lookInto(pool, key));
  const token = newToken();
  const people = await setUp(pool, `${lab.tools.url}/${name}`, token);
  const witness = await startWitnessing(home, signers);
  const witnesses = join(home, "witnesses.json");
  await writeFile(
    witnesses,
    JSON.stringify({ quorum: 1, witnesses: [{ url: witness.url, verifierKey: witness.verifierKey }] }),
  );
  const port = await freePort();
  const baseUrl = `http://127.0.0.1:${port}`;
  const optionsOf = (role: ChildRole): ChildOptions => ({
    role,
    home,
    databaseUrl,
    temporal: lab.temporal,
    taskQueue: name,
    port,
    modelUrl: lab.modelUrl,
    bundle: lab.bundle,
    witnesses,
    token,
  });
  let armings = 0;
  const logsFor = (borne: readonly Fault[]) => {
    armings += 1;
    const logOf = (role: ChildRole): FaultLog =>
      new FaultLog(
        home,
        `${role}-${armings}`,
        borne.filter((fault) => isIn(fault.point, role)),
      );
    return { server: logOf("server"), worker: logOf("worker"), export: logOf("export"), rotate: logOf("rotate") };
  };
  let faultLogs: Readonly<Record<ChildRole, FaultLog>> = logsFor(faults);
  const processes: Supervised[] = [];
  const begin = (options: ChildOptions, log: FaultLog): Supervised => {
    const started = supervise(options, log);
    processes.push(started);
    return started;
  };
  const client = (of: string): ApiClient => createClient({ baseUrl, token: of, timeoutMs: 10_000 });
  const server = begin(optionsOf("server"), faultLogs.server);
  const worker = begin(optionsOf("worker"), faultLogs.worker);
  return {
    name,
    home,
    databaseUrl,
    pool,
    token,
    operator: client(token),
    reviewers: people.map(({ reviewerToken, ...person }) => ({ ...person, client: client(reviewerToken) })),
    signers,
    calls,
    witness,
    server,
    worker,
    logOf: (role) => faultLogs[role],
    async arm(borne) {
      faultLogs = logsFor(borne);
      await Promise.all([server.rearm(faultLogs.server), worker.rearm(faultLogs.worker)]);
    },
    optionsOf,
    addWorker: () => begin(optionsOf("worker"), new FaultLog(home, "second-worker", [])),
    addServer: async () =>
      begin({ ...optionsOf("server"), port: await freePort() }, new FaultLog(home, "second-server", [])),
    async close() {
      await Promise.all(processes.map((one) => one.stop()));
      await witness.stop();
      await pool.end();
    },
  };
}

/** What was committed of a call when it came to the tool. A key is `RUN.SEQ`. A connection that breaks is no answer yet. */
async function lookInto(pool: Pool, key: string): Promise<Witnessed> {
  const [run = "", seq = ""] = key.split(".");
  const row = await poll(async () => {
    const { rows } = await pool.query<{ intended: boolean; granted: boolean }>(
      `select exists (select from effect where idempotency_key = $1) as intended,
         exists (select from approval_request request join step using (run, seq)
                 where run = $2 and seq = $3 and request.consumed_at is not null and request.action = step.action) as granted`,
      [key, run, Number(seq)],
    );
    return rows[0];
  }, lookWithinMs);
  const said = (value: boolean | undefined): Seen => (value === undefined ? "unseen" : value ? "yes" : "no");
  return { intended: said(row?.intended), granted: said(row?.granted) };
}

async function setUp(pool: Pool, toolsUrl: string, token: string) {
  const now = new Date();
  await putPrincipal(
    pool,
    { id: "operator", displayName: "operator", roles: ["operator", "auditor", "admin"], groups: [] },
    hashToken(token),
  );
  const { document, problems } = policySetOf([{ name: "faults.cedar", text: policy }]);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  for (const team of teams) {
    const release = releaseOfDocument({
      v: 1,
      team,
      agent: "clerk",
      useCase: "faults",
      riskTier: "limited",
      model: { name: modelName, maxOutputTokens: 200 },
      prompt: "Do what you are told.",
      tools: toolsAt(toolsUrl),
      limits: { maxSteps: 20, maxCostMicroUsd: 1_000_000, maxWallClockMs: 600_000 },
    });
    await registerRelease(pool, release, "operator", now);
    const place = { team, agent: "clerk", channel: "production", release: release.digest } as const;
    await moveChannel(pool, { ...place, by: "operator", reason: "", now });
    await appendToOutbox(pool, [releaseRegistered(release, "operator", now)]);
    const { digest, activation } = await activatePolicySet(pool, team, document as never, "operator", now);
    await appendToOutbox(pool, [policyActivated(team, digest, activation ?? 0, "operator", now)]);
  }
  return Promise.all(["rita", "rob"].map((id) => addReviewer(pool, id, now)));
}

async function addReviewer(pool: Pool, id: string, now: Date) {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const reviewerToken = newToken();
  const person = { id, displayName: id, roles: ["reviewer", "auditor"], groups: ["treasury"] } as const;
  await putPrincipal(pool, person, hashToken(reviewerToken));
  const added = { principal: id, publicKey: publicKeyOf(privateKey), addedBy: "operator", now };
  const { key } = await addReviewerKey(pool, added);
  await appendToOutbox(pool, [keyAdded(key)]);
  return { id, privateKey, key, reviewerToken };
}

async function startWitnessing(home: string, signers: SignersOf) {
  const state = await openWitnessState(join(home, "witness"));
  const signer = createCosigner("witness.example", randomBytes(32), () => Math.floor(Date.now() / 1_000));
  const listen = (port: number) =>
    startWitness({
      host: "127.0.0.1",
      port,
      logs: logs.map((log) => parseVerifierKey(signers(originOf(log))[0].verifierKey)),
      signer,
      state,
      onEvent: () => undefined,
    });
  let running: Awaited<ReturnType<typeof listen>> | undefined = await listen(0);
  const { url } = running;
  return {
    url,
    verifierKey: signer.verifierKey,
    async stop() {
      await running?.stop();
      running = undefined;
    },
    async start() {
      running = await listen(Number(new URL(url).port));
    },
  };
}
