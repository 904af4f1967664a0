import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import pc from "picocolors";

import { createClient } from "../../src/api/index.ts";
import type { ApiClient } from "../../src/api/index.ts";
import { replayRun, verifyRun } from "../../src/audit/index.ts";
import type { AuditReport } from "../../src/audit/index.ts";
import type { Cli } from "../../src/cli/cli.ts";
import { closedRecord } from "../../src/cli/closed-record.ts";
import { readPrivateKey, signDecision } from "../../src/cli/sign-decision.ts";
import { startStack } from "../../src/cli/stack.ts";
import type { ApprovalId, RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { freePort, resolveHome, secretOf, startTemporal } from "../../src/dev/index.ts";
import type { TemporalOptions } from "../../src/dev/index.ts";
import { testBundle } from "../support/bundle.ts";

export type RunningStack = {
  readonly url: string;
  readonly home: string;
  /** Of the store, as its owner. */
  readonly databaseUrl: string;
  readonly operator: ApiClient;
  readonly reviewer: ApiClient;
  /** Decides as the reviewer, with the reviewer's own key. */
  decide(approval: ApprovalId, decision: "approve" | "deny"): Promise<void>;
  /** A command's surroundings, as the operator; `result` is what it would print with `--json`. */
  cli(): { readonly cli: Cli; readonly result: () => unknown };
  /** A run's record with the code that it ran, as an auditor gets them. */
  evidence(run: RunId): Promise<Evidence>;
  stop(): Promise<void>;
};

export type Evidence = { readonly record: RunRecord; readonly code: string; readonly verifierKey: string };

export type StackChanges = {
  /** Set in this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of a Temporal server that is started first, and that the stack uses as one of somebody else's. */
  readonly temporal?: TemporalOptions["settings"];
};

/** All of `npm start` in this process, on a directory and ports of its own. */
export async function startRunningStack(changes: StackChanges = {}): Promise<RunningStack> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-e2e-"));
  const [api, temporal, postgres] = await Promise.all([freePort(), freePort(), freePort()]);
  const progress: string[] = [];
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const beside =
    changes.temporal === undefined
      ? undefined
      : await startTemporal({ home, port: temporal, env: process.env, settings: changes.temporal });
  // The worker's tools read the environment of this process.
  const env = Object.assign(process.env, changes.env, beside === undefined ? {} : { TEMPORAL_ADDRESS: beside.address });
  const started = await startStack({
    home,
    ports: { api, temporal, temporalUi: undefined, postgres },
    env,
    onProgress: (line) => void progress.push(line),
    signal: new AbortController().signal,
    bundle: await testBundle(),
  }).catch(async (error: unknown) => {
    await beside?.stop();
    throw error;
  });
  const { apiUrl, people } = started;
  const operator = createClient({ baseUrl: apiUrl, token: people.token });
  const reviewer = createClient({ baseUrl: apiUrl, token: people.reviewer.token });
  return {
    url: apiUrl,
    home: folder,
    databaseUrl: `postgres://countersign:${secretOf(home, "postgres-countersign")}@127.0.0.1:${postgres}/countersign`,
    operator,
    reviewer,
    async decide(approval, decision) {
      const detail = await reviewer.showApproval({ params: { approval } });
      await signDecision(reviewer, detail, decision, "", readPrivateKey(people.reviewer.keyFile));
    },
    cli() {
      let result: unknown;
      const quiet = (): void => undefined;
      const terminal: Cli["terminal"] = {
        json: true,
        interactive: false,
        colors: pc.createColors(false),
        say: quiet,
        write: quiet,
        note: quiet,
        table: quiet,
        confirm: () => Promise.resolve(false),
        result: (value) => (result = value),
      };
      const connection = {
        url: apiUrl,
        token: people.token,
        reviewerToken: people.reviewer.token,
        keyFile: people.reviewer.keyFile,
      };
      const interrupted = new AbortController().signal;
      return {
        cli: { env: process.env, terminal, connection, client: operator, reviewer, interrupted },
        result: () => result,
      };
    },
    async evidence(run) {
      const record = await closedRecord(operator, run);
      const [{ code }, { verifierKey }] = await Promise.all([
        operator.bundle({ params: { digest: record.run.workflowBundle ?? ("" as never) } }),
        operator.verifierKey({ params: { log: record.run.team } }),
      ]);
      return { record, code, verifierKey };
    },
    async stop() {
      const failures = await started.stop();
      await beside?.stop();
      await rm(folder, { recursive: true, force: true });
      if (failures.length > 0) throw new Error(`did not stop cleanly: ${failures.map(({ name }) => name).join(", ")}`);
    },
  };
}

/** Everything that an auditor looks at. */
export async function auditOf({
  record,
  code,
  verifierKey,
}: Evidence): Promise<{ replay: AuditReport; evidence: AuditReport }> {
  return { replay: await replayRun(record, code), evidence: verifyRun(record, verifierKey) };
}

/** What a report found, to be read where a test fails. */
export function problemsOf(report: AuditReport): readonly string[] {
  return report.checks.flatMap((check) =>
    check.status === "passed" ? [] : [`${check.name} ${check.status}: ${check.detail}`, ...check.problems],
  );
}
