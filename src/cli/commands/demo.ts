import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";

import { createClient } from "../../api/index.ts";
import type { ApiClient } from "../../api/index.ts";
import type { AuditReport } from "../../audit/index.ts";
import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { poll } from "../poll.ts";
import { RunProgress } from "../run-progress.ts";
import { safe } from "../terminal.ts";
import type { Stack } from "../stack.ts";

/** Everything back: between what the agent may give by itself and the cap. */
const heldBack = "I want my money back for order A-1002, the grinder is faulty.";
/** Over the cap: nobody can approve it. */
const forbidden = "I want my money back for order A-1003, I changed my mind.";

/** The demo has a database and a model of its own, whatever the shell that it is started from is set up for. */
const ofTheShell = ["DATABASE_URL", "SHOP_DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "COUNTERSIGN_SCRIPTS"];

export function addDemoCommand(program: Command): void {
  program
    .command("demo")
    .description(
      "the main job without a person, on free ports and in a temporary directory: gate, approval, replay, evidence",
    )
    .action((_flags, command: Command) => demo(cliOf(command)));
}

async function demo(cli: Cli): Promise<void> {
  const { terminal, env } = cli;
  const [dev, { startStack }] = await Promise.all([import("../../dev/index.ts"), import("../stack.ts")]);
  for (const name of ofTheShell) delete env[name];
  const folder = await mkdtemp(join(tmpdir(), "countersign-demo-"));
  const interrupted = new AbortController();
  void dev.untilInterrupted().then(() => interrupted.abort(new CliError("environment", "interrupted")));
  try {
    const [api, temporal, postgres] = await Promise.all([dev.freePort(), dev.freePort(), dev.freePort()]);
    const stack = await startStack({
      home: dev.resolveHome({ COUNTERSIGN_HOME: folder }),
      ports: { api, temporal, temporalUi: undefined, postgres },
      env,
      onProgress: terminal.note,
      signal: interrupted.signal,
    });
    try {
      const stopped = new Promise<never>((_, reject) => {
        interrupted.signal.addEventListener("abort", () => reject(interrupted.signal.reason as Error), { once: true });
        void stack.broken.then((reason) => reject(new CliError("environment", reason)));
      });
      await Promise.race([act(cli, stack), stopped]);
    } finally {
      await stack.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Each part throws where the product does not do what it says. */
async function act(cli: Cli, stack: Stack): Promise<void> {
  const { terminal } = cli;
  const operator = createClient({ baseUrl: stack.apiUrl, token: stack.people.token });
  const reviewer = createClient({ baseUrl: stack.apiUrl, token: stack.people.reviewer.token });
  const { registerExample, startExampleRun } = await import("../example.ts");
  const title = (text: string) => terminal.say(`\n${terminal.colors.bold(text)}`);

  title("1. Register the example agent and its policies");
  await registerExample(operator);
  terminal.say("shop/support is in production");

  title("2. A customer wants $189.00 back: the gate stops the call, and the run waits");
  const run = await startExampleRun(operator, heldBack);
  const approval = await waitingFor(operator, run);
  await showSteps(cli, operator, run);

  title("3. A reviewer reads exactly what would be done, and signs");
  const { readPrivateKey, signDecision } = await import("../sign-decision.ts");
  const detail = await reviewer.showApproval({ params: { approval } });
  for (const line of safe(detail.rendered).trimEnd().split("\n")) terminal.say(`  ${line}`);
  const decided = await signDecision(reviewer, detail, "approve", "", readPrivateKey(stack.people.reviewer.keyFile));
  terminal.say(`approved as ${decided.reviewer}`);

  title("4. The run goes on by itself, and makes the call once");
  await closed(operator, run, "completed");
  await showSteps(cli, operator, run);
  await expectStep(operator, run, "refund", "done");

  title("5. Over the cap nobody is asked: the policy denies it, and the agent says so");
  const denied = await startExampleRun(operator, forbidden);
  await closed(operator, denied, "completed");
  await showSteps(cli, operator, denied);
  await expectStep(operator, denied, "refund", "denied");

  title("6. Replay both runs, and verify their evidence against the signed ledger");
  const reports = [];
  for (const one of [run, denied]) reports.push(...(await audit(cli, operator, one)));
  terminal.result({ runs: [run, denied], reports });
  terminal.say("\nEverything held.");
}

async function audit({ terminal }: Cli, client: ApiClient, run: RunId): Promise<readonly AuditReport[]> {
  const { replayRun, verifyRun } = await import("../../audit/index.ts");
  const { closedRecord } = await import("../closed-record.ts");
  const record = await closedRecord(client, run);
  if (record.run.workflowBundle === null) throw new CliError("incomplete", "the run's workflow code is not kept");
  const { code } = await client.bundle({ params: { digest: record.run.workflowBundle } });
  const { verifierKey } = await client.verifierKey({ params: { log: record.run.team } });
  const reports = { replay: await replayRun(record, code), evidence: verifyRun(record, verifierKey) };
  for (const [name, report] of Object.entries(reports)) {
    terminal.say(`${name} of ${run}: ${report.verdict}`);
    for (const check of report.checks) {
      terminal.say(`  ${check.status} ${check.name}: ${safe(check.detail)}`);
      for (const problem of check.problems) terminal.say(`    ${safe(problem)}`);
    }
    if (report.verdict !== "verified") throw new CliError(report.verdict, `the ${name} of ${run} is ${report.verdict}`);
  }
  return Object.values(reports);
}

async function showSteps({ terminal }: Cli, client: ApiClient, run: RunId): Promise<void> {
  const { steps, decisions } = await client.showRun({ params: { run } });
  const progress = new RunProgress(terminal);
  for (const step of steps) {
    for (const decision of decisions.filter((one) => one.seq === step.seq))
      progress.show({ type: "decision", decision, step });
    progress.show({ type: "step", step });
  }
}

async function expectStep(client: ApiClient, run: RunId, name: string, state: string): Promise<void> {
  const { steps } = await client.showRun({ params: { run } });
  const found = steps.find((step) => step.name === name);
  if (found?.state !== state)
    throw new CliError("run_failed", `expected step \`${name}\` to be ${state}, it is ${found?.state ?? "missing"}`);
}

async function waitingFor(client: ApiClient, run: RunId) {
  return until("the run did not ask for an approval", async () => {
    const { approvals, steps, run: view } = await client.showRun({ params: { run } });
    if (view.closedAt !== null) throw new CliError("run_failed", `the run is ${view.status}; the gate stopped nothing`);
    const pending = approvals.find((approval) => approval.state === "pending");
    if (pending !== undefined && steps.some((step) => step.name === "refund" && step.state !== "waiting")) {
      throw new CliError("run_failed", "the refund did not wait for the approval");
    }
    return pending?.id;
  });
}

async function closed(client: ApiClient, run: RunId, status: string): Promise<void> {
  const view = await until("the run did not end", async () => {
    const { run: found } = await client.showRun({ params: { run } });
    return found.closedAt === null ? undefined : found;
  });
  if (view.status !== status)
    throw new CliError("run_failed", `expected the run to be ${status}, it is ${view.status}`);
}

async function until<Found>(otherwise: string, look: () => Promise<Found | undefined>): Promise<Found> {
  const found = await poll(30_000, look);
  if (found === undefined) throw new CliError("run_failed", `${otherwise} within 30 s`);
  return found;
}
