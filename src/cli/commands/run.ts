import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";

import type { RunView } from "../../api/index.ts";
import { channels } from "../../core/release.ts";
import type { Channel } from "../../core/release.ts";
import { formatUsd } from "../../core/money.ts";
import type { RunId } from "../../core/ids.ts";
import { runStatuses } from "../../core/run.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { assertCompleted, followRun } from "../follow-run.ts";
import { frozenText } from "../frozen.ts";
import { closingLines, decisionLines, RunProgress } from "../run-progress.ts";
import { brief, localTime, safe, shortDigest } from "../terminal.ts";
import { resolveAgent } from "./agent.ts";

type StartFlags = {
  readonly team?: string;
  readonly input?: string;
  readonly inputFile?: string;
  readonly subjectId?: string;
  readonly subjectEmail?: string;
  readonly tag: Readonly<Record<string, string>>;
  readonly channel?: Channel;
  readonly release?: string;
  readonly idempotencyKey?: string;
  readonly watch?: true;
  readonly wait?: true;
  readonly dojo?: string;
  readonly dojoData?: string;
};

export function addRunCommands(program: Command): void {
  const run = program.command("run").description("runs of agents");
  run
    .command("start [agent]")
    .description("start a run of TEAM/NAME, or of the only agent there is")
    .option("--team <team>", "the agent's team")
    .option("--input <text>", "what the agent is asked")
    .option("--input-file <file>", "the same from a file; `-` is standard input")
    .option("--subject-id <id>", "on whose behalf: tools and policies go by it")
    .option("--subject-email <address>", "the subject's address")
    .option("--tag <key=value>", "a label, such as ticket=7; may be repeated", addTag, {})
    .addOption(new Option("--channel <channel>", "which release").choices(channels).conflicts("release"))
    .option("--release <digest>", "a release by its digest")
    .option("--idempotency-key <key>", "the same key and request start one run only")
    .option("--watch", "show each step as it happens, until the run closes")
    .option("--wait", "wait until the run closes, and print its answer")
    .addOption(
      new Option(
        "--dojo <task>",
        "play a task of AgentDojo: banking/user_task_3, or under attack banking/user_task_3+injection_task_1",
      ).conflicts(["input", "inputFile"]),
    )
    .option("--dojo-data <dir>", "a directory with other suites than the shipped one")
    .action((agent: string | undefined, flags: StartFlags, command: Command) => start(cliOf(command), agent, flags));
  run
    .command("list")
    .description("runs, newest first")
    .option("--team <team>")
    .option("--agent <agent>")
    .addOption(new Option("--status <status>").choices(runStatuses))
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  run
    .command("show <run>")
    .description("a run with its steps, decisions and answer")
    .action((id: RunId, _flags, command: Command) => show(cliOf(command), id));
  run
    .command("cancel <run>")
    .description("ask a run to stop")
    .action((id: RunId, _flags, command: Command) => cancel(cliOf(command), id));
  run
    .command("watch <run>")
    .description("show each step as it happens, until the run closes")
    .action((id: RunId, _flags, command: Command) => watch(cliOf(command), id));
}

async function start(cli: Cli, agentName: string | undefined, flags: StartFlags): Promise<void> {
  if (flags.dojo !== undefined) {
    const { startDojo } = await import("../dojo.ts");
    return startDojo(cli, flags.dojo, flags.dojoData, flags.tag);
  }
  const { team, agent } = await resolveAgent(cli, agentName, flags.team);
  const { run } = await cli.client.startRun({
    body: {
      team,
      agent,
      prompt: await promptOf(flags),
      ...(flags.channel === undefined ? {} : { channel: flags.channel }),
      ...(flags.release === undefined ? {} : { release: flags.release as never }),
      ...subjectOf(flags),
      ...(Object.keys(flags.tag).length === 0 ? {} : { tags: { ...flags.tag } }),
    },
    headers: { "idempotency-key": flags.idempotencyKey },
  });
  cli.terminal.say(`started ${run.id} of ${team}/${agent}`);
  if (flags.watch === true) return watch(cli, run.id);
  if (flags.wait === true) return wait(cli, run.id);
  cli.terminal.say(`  watch it: countersign run watch ${run.id}`);
  cli.terminal.result({ run });
}

async function watch(cli: Cli, id: RunId): Promise<void> {
  const progress = new RunProgress(cli.terminal);
  const closed = await followRun(cli, id, (event) => progress.show(event));
  if (closed === undefined) {
    cli.terminal.note(`the run goes on; watch it again: countersign run watch ${id}`);
    return;
  }
  cli.terminal.result({ run: closed.run, output: closed.output });
  finish(cli, closed.run);
}

async function wait(cli: Cli, id: RunId): Promise<void> {
  const closed = await followRun(cli, id, (event) => {
    if (event.type === "approval" && event.approval.state === "pending") {
      cli.terminal.note(`waits for approval ${event.approval.id}: countersign approvals show ${event.approval.id}`);
    }
  });
  if (closed === undefined) {
    cli.terminal.note(`the run goes on; watch it: countersign run watch ${id}`);
    return;
  }
  for (const line of closingLines(closed.run, closed.output, cli.terminal)) cli.terminal.say(line);
  cli.terminal.result({ run: closed.run, output: closed.output });
  finish(cli, closed.run);
}

/** With `--json` the document is out already, and there must be one only. */
function finish({ terminal }: Cli, run: RunView): void {
  if (run.status === "completed") return;
  if (terminal.json) process.exitCode = 1;
  else assertCompleted(run);
}

type ListFlags = {
  readonly team?: string;
  readonly agent?: string;
  readonly status?: RunView["status"];
  readonly limit: number;
  readonly cursor?: string;
};

async function list({ client, terminal }: Cli, flags: ListFlags): Promise<void> {
  const page = await client.listRuns({ query: flags });
  if (page.runs.length === 0)
    terminal.say('no runs yet; start one: countersign run start TEAM/AGENT --input "…" --watch');
  else {
    terminal.table(
      ["run", "agent", "status", "steps", "cost", "started", "by"],
      page.runs.map((run) => [
        run.id,
        `${run.team}/${run.agent}`,
        run.status,
        String(run.steps),
        formatUsd(run.spentMicroUsd),
        localTime(run.createdAt),
        run.requestedBy,
      ]),
    );
    if (page.next !== null) terminal.say(`more: countersign run list --cursor ${page.next}`);
  }
  terminal.result(page);
}

async function show({ client, terminal }: Cli, id: RunId): Promise<void> {
  const detail = await client.showRun({ params: { run: id } });
  const { run, input, steps, decisions, approvals, freezes, state, output } = detail;
  terminal.say(`${run.id}  ${run.team}/${run.agent}  release ${shortDigest(run.release)}`);
  terminal.say(
    `asked for by ${run.requestedBy} at ${localTime(run.createdAt)}${input?.subject === undefined ? "" : `, for ${safe(input.subject.id)}`}`,
  );
  terminal.say(
    input === null ? `contents: ERASED at ${localTime(run.contentsErasedAt)}` : `input: ${brief(input.prompt, 300)}`,
  );
  for (const step of steps) {
    for (const decision of decisions.filter((candidate) => candidate.seq === step.seq))
      for (const line of decisionLines(decision, step, terminal)) terminal.say(line);
    if (step.state === "intended" && step.cosigning === "waiting") terminal.say("      waits for witnesses");
    const progress = new RunProgress(terminal);
    progress.show({ type: "step", step });
  }
  for (const approval of approvals.filter((candidate) => candidate.state === "pending")) {
    terminal.say(`waits for ${approval.id}: countersign approvals show ${approval.id}`);
  }
  for (const freeze of freezes) terminal.say(`frozen, its steps wait: ${frozenText(freeze)}`);
  if (run.closedAt !== null) for (const line of closingLines(run, output, terminal)) terminal.say(line);
  else terminal.say(state === null ? `${run.status}` : `${run.status}, ${state.phase}`);
  terminal.result(detail);
}

async function cancel({ client, terminal }: Cli, id: RunId): Promise<void> {
  const answer = await client.cancelRun({ params: { run: id } });
  terminal.say(
    answer.run.status === "cancelled"
      ? `${id} is cancelled`
      : `${id} is asked to stop; steps under way come to an end first`,
  );
  terminal.result(answer);
}

async function promptOf({ input, inputFile }: StartFlags): Promise<string> {
  if (input !== undefined && inputFile !== undefined)
    throw new CliError("usage", "give --input TEXT or --input-file FILE, not both");
  if (input === undefined && inputFile === undefined) {
    throw new CliError("usage", "what shall the agent do? Give --input TEXT or --input-file FILE", {
      hint: 'countersign run start shop/support --input "Where is my order A-1004?" --subject-id cus_ada --watch',
    });
  }
  if (input?.trim() === "") throw new CliError("usage", "--input has nothing but spaces: what shall the agent do?");
  if (input !== undefined) return input;
  try {
    // Not as a file: standard input may be a pipe that has nothing to read yet.
    return inputFile === "-" ? await text(process.stdin) : await readFile(inputFile ?? "", "utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `\`${inputFile}\` cannot be read`, { cause });
  }
}

function subjectOf({ subjectId, subjectEmail }: StartFlags): { subject?: { id: string; email?: string } } {
  if (subjectId === undefined && subjectEmail !== undefined)
    throw new CliError("usage", "--subject-email needs --subject-id");
  if (subjectId === undefined) return {};
  return { subject: subjectEmail === undefined ? { id: subjectId } : { id: subjectId, email: subjectEmail } };
}

function addTag(text: string, tags: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const place = text.indexOf("=");
  if (place < 1) throw new InvalidArgumentError("expected key=value");
  return { ...tags, [text.slice(0, place)]: text.slice(place + 1) };
}

export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number from 1");
  return value;
}
