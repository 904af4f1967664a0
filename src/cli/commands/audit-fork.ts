import { access, stat, writeFile } from "node:fs/promises";

import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";

import type { ApprovalAnswers, EffectAnswers, ForkPlan, ForkReport } from "../../audit/index.ts";
import { runIdPattern } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import { formatUsd, microUsdPerUsd } from "../../core/money.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { closedRecord } from "../closed-record.ts";
import { policySetNamed } from "../policy-sets.ts";
import { readText } from "../read-text.ts";
import { brief, safe } from "../terminal.ts";

const changes = ["model", "prompt", "policy"] as const;
type Changes = Partial<Record<(typeof changes)[number], string>>;

type ForkFlags = {
  readonly at: number;
  readonly with: Changes;
  readonly approvals: ApprovalAnswers;
  readonly effects: EffectAnswers;
  readonly maxCost: number;
  readonly output?: string;
};

/** A prompt's characters, in the longest UTF-8. */
const maxPromptBytes = 800_000;

export function addForkCommand(audit: Command): void {
  audit
    .command("fork <run>")
    .description(
      "what would a run have done otherwise? Its agent again from one step on; reads from the record, no effects",
    )
    .requiredOption(
      "--at <seq>",
      "the first step that is done anew: a model's, or the first call that it asks for",
      seq,
    )
    .option(
      "--with <change>",
      "model=NAME, prompt=FILE or policy=DIR|DIGEST; may be repeated; without any, the same again",
      addChange,
      {},
    )
    .addOption(
      new Option(
        "--approvals <answer>",
        "what is said in the place of people; recorded: what they said to the same call",
      )
        .choices(["approve", "deny", "recorded"])
        .default("approve"),
    )
    .addOption(
      new Option("--effects <answer>", "what a call with an effect is told; recorded: what the same call was told then")
        .choices(["stub", "recorded"])
        .default("stub"),
    )
    .option("--max-cost <amount>", "what the model may cost from there on, such as $1", money, microUsdPerUsd)
    .option("-o, --output <file>", "write the whole comparison as JSON, with contents; the file must not exist yet")
    .addHelpText(
      "after",
      `
The run is read from the server (which records that). What follows runs in this process, with the model that OPENAI_API_KEY and
OPENAI_BASE_URL name here, or the scripted one with the scripts of COUNTERSIGN_SCRIPTS, in a Postgres and a Temporal that end with it. No tool is loaded or called.
A fork has no log and no witnesses: a call that must be cosigned first is not made, its agent is told so, and the comparison says it.

  countersign audit fork RUN --at 4 --with prompt=stricter.txt
  countersign audit fork RUN --at 2 --with policy=policies/next --approvals deny -o fork.json`,
    )
    .action((run: string, flags: ForkFlags, command: Command) => fork(cliOf(command), run, flags));
}

async function fork(cli: Cli, run: string, flags: ForkFlags): Promise<void> {
  const { terminal } = cli;
  if (!runIdPattern.test(run))
    throw new CliError("usage", `\`${run}\` is no run`, { hint: "see countersign run list" });
  const { output } = flags;
  if (output !== undefined) await assertAbsent(output);
  const prompt = flags.with.prompt === undefined ? undefined : await promptIn(flags.with.prompt);
  const record = await closedRecord(cli.client, run as RunId);
  const plan = await planned(cli, record, flags, prompt);
  const report = await carryOut(cli, plan, flags);
  const { sayFork, unansweredText } = await import("../fork-text.ts");
  sayFork(terminal, report);
  if (output !== undefined) {
    await writeFile(output, `${JSON.stringify(report, undefined, 2)}\n`, { mode: 0o600, flag: "wx" });
    terminal.say(`written to ${output}; contents of the run are in it`);
  }
  terminal.result(report);
  const unanswered = unansweredText(report);
  if (unanswered === undefined) return;
  terminal.note(`${terminal.colors.red("error")}: ${unanswered}`);
  process.exitCode = 2;
}

async function planned(cli: Cli, record: RunRecord, flags: ForkFlags, prompt: string | undefined): Promise<ForkPlan> {
  const { planFork } = await import("../../audit/index.ts");
  const { model, policy } = flags.with;
  // First what needs nothing else: a wrong step should not be told after a wrong folder.
  const request = { at: flags.at, model, prompt, maxCostMicroUsd: flags.maxCost };
  const plan = planFork(record, request);
  if (policy === undefined) return plan;
  const { document } = await policySetNamed(cli, policy, record.run.team);
  return planFork(record, { ...request, policies: document });
}

async function carryOut(cli: Cli, plan: ForkPlan, flags: ForkFlags): Promise<ForkReport> {
  const { env, terminal } = cli;
  const [{ createShutdownStack, untilInterrupted }, { startForkWorld }, { runFork, stopped }, services] =
    await Promise.all([
      import("../../dev/index.ts"),
      import("../fork-world.ts"),
      import("../fork-run.ts"),
      import("../services.ts"),
    ]);
  const interrupting = new AbortController();
  void untilInterrupted().then(() => interrupting.abort());
  const { signal } = interrupting;
  const stack = createShutdownStack();
  try {
    const model = await services.modelOf(env, stack);
    const priceOf = await services.pricesOf(env, model.baseUrl);
    const { name } = plan.release.document.model;
    const { ForkError } = await import("../../audit/index.ts");
    if (priceOf(name) === undefined) {
      throw new ForkError("fork_refused", `no price is known for model \`${name}\`, so its cost cannot be bounded`, {
        hint: "name it in the file of COUNTERSIGN_PRICES",
      });
    }
    if (model.plays?.(name) === false) {
      throw new CliError("environment", `no key is set, and no script here plays model \`${name}\``, {
        hint: "a fork's model runs in this process: set COUNTERSIGN_SCRIPTS or OPENAI_API_KEY here as for the server",
      });
    }
    terminal.note(`${plan.kept.length} steps are kept; model: ${model.name}, at most ${formatUsd(flags.maxCost)}`);
    terminal.note("starting a Postgres and a Temporal for the fork alone");
    const world = await startForkWorld(stack, env, signal, terminal.note);
    return await runFork({
      plan,
      approvals: flags.approvals,
      effects: flags.effects,
      databaseUrl: world.databaseUrl,
      temporal: world.temporal,
      provider: model.provider,
      priceOf,
      ...services.deciders(env),
      bundle: await bundleOf(cli, plan),
      logger: await complaintsTo(terminal.note),
      onProgress: (line) => terminal.note(safe(line)),
      signal: AbortSignal.any([signal, world.broken]),
    });
  } catch (error) {
    throw signal.aborted ? stopped(signal) : error;
  } finally {
    await stack.run();
  }
}

/** The code that the run ran; it is what its name says, whoever served it. */
async function bundleOf({ client }: Cli, { record }: ForkPlan) {
  const { workflowBundle: digest } = record.run;
  if (digest === null) return undefined;
  const [{ code }, { sha256 }] = await Promise.all([
    client.bundle({ params: { digest } }),
    import("../../store/index.ts"),
  ]);
  if (sha256(code) === digest) return { code, digest };
  throw new CliError("refuted", `workflow bundle \`${digest}\` has other contents than its name says`);
}

/** What the fork's worker complains of: a step that cannot be decided on is tried again until it can, and that has to be seen. */
async function complaintsTo(note: (line: string) => void) {
  const { pino } = await import("pino");
  return pino(
    { level: "warn" },
    {
      write(line: string) {
        const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
        note(brief([msg, err?.message].filter((text) => text !== undefined).join(": "), 300));
      },
    },
  );
}

async function promptIn(file: string): Promise<string> {
  const found = await stat(file).catch(() => undefined);
  if (found !== undefined && found.size > maxPromptBytes)
    throw new CliError("usage", `prompt file \`${file}\` has ${found.size} bytes, at most ${maxPromptBytes} are read`);
  return readText(file);
}

async function assertAbsent(file: string): Promise<void> {
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (there) throw new CliError("usage", `\`${file}\` exists already`, { hint: "choose another name" });
}

function addChange(text: string, before: Changes): Changes {
  const [, name = "", value = ""] = /^([a-z]+)=(.+)$/s.exec(text) ?? [];
  const change = changes.find((one) => one === name);
  if (change === undefined) throw new InvalidArgumentError("expected model=NAME, prompt=FILE or policy=DIR|DIGEST");
  if (before[change] !== undefined) throw new InvalidArgumentError(`${change} is given twice`);
  return { ...before, [change]: value };
}

function seq(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("expected a step's number, from 0");
  return Number(text);
}

function money(text: string): number {
  if (!/^\$?\d{1,6}(\.\d{1,6})?$/.test(text)) throw new InvalidArgumentError("expected an amount such as $1 or 0.25");
  return Math.round(Number(text.replace("$", "")) * microUsdPerUsd);
}
