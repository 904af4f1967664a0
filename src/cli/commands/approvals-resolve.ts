import type { Command } from "commander";

import type { RunId } from "../../core/ids.ts";
import { runIdPattern } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { brief, localTime, safe } from "../terminal.ts";

type ResolveFlags = {
  readonly happened?: true;
  readonly didNotHappen?: true;
  readonly reason: string;
  readonly key?: string;
  readonly yes?: true;
};

export function addResolveCommand(approvals: Command): void {
  approvals
    .command("resolve <run> <seq>")
    .description("say what became of a call that was interrupted, after looking; signed with your key")
    .option("--happened", "it took effect")
    .option("--did-not-happen", "it had no effect")
    .requiredOption("--reason <text>", "how you know; the agent is told")
    .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)")
    .option("--yes", "do not ask")
    .action((run: string, seq: string, flags: ResolveFlags, command: Command) =>
      resolve(cliOf(command), run, seq, flags),
    );
}

async function resolve(cli: Cli, runText: string, seqText: string, flags: ResolveFlags): Promise<void> {
  const { reviewer, terminal } = cli;
  const { run, seq, outcome } = parsed(runText, seqText, flags);
  const { readPrivateKey, signStatementOf } = await import("../sign-decision.ts");
  const detail = await reviewer.showOutcome({ params: { run, seq } });
  const say = terminal.json ? terminal.note : terminal.say;
  say(`it may or may not have happened, since ${localTime(detail.outcome.openedAt)}:`);
  for (const line of safe(detail.rendered).trimEnd().split("\n")) say(`  ${line}`);
  const privateKey = readPrivateKey(flags.key ?? cli.connection.keyFile);
  const question = outcome === "happened" ? "Say that it took effect?" : "Say that it had no effect?";
  if (flags.yes !== true && !(await terminal.confirm(question))) {
    throw new CliError("not_confirmed", "nothing was said", {
      hint: terminal.interactive ? "answer y to say it" : "read it above, then add --yes",
    });
  }
  const { body, reviewer: me } = await signStatementOf(
    reviewer,
    detail.statement,
    { outcome, reason: flags.reason },
    privateKey,
  );
  const answer = await reviewer.resolveOutcome({ params: { run, seq }, body });
  terminal.say(`recorded as ${me}: ${outcome === "happened" ? "it took effect" : "it had no effect"}`);
  if (!answer.woken) terminal.say("the run could not be told yet; the server tells it within seconds");
  terminal.result(answer);
}

function parsed(run: string, seq: string, { happened, didNotHappen }: ResolveFlags) {
  if (!runIdPattern.test(run)) throw new CliError("usage", `\`${run}\` is not a run id`);
  if (!/^\d{1,9}$/.test(seq)) throw new CliError("usage", `\`${seq}\` is not the number of a step`);
  if ((happened === true) === (didNotHappen === true))
    throw new CliError("usage", "say either --happened or --did-not-happen");
  return { run: run as RunId, seq: Number(seq), outcome: happened === true ? "happened" : "did_not_happen" } as const;
}

/** The open ones, in the inbox. */
export async function listOpenOutcomes({ reviewer, terminal }: Cli, team: string | undefined) {
  const page = await reviewer.listOutcomes({
    query: { state: "open", limit: 50, ...(team === undefined ? {} : { team }) },
  });
  if (page.outcomes.length === 0) return page.outcomes;
  terminal.say("calls that may or may not have happened:");
  terminal.table(
    ["run", "step", "team", "tool", "who may say", "until"],
    page.outcomes.map((one) => [
      one.run,
      String(one.seq),
      one.team,
      brief(one.name, 40),
      one.groups.join(", ") || "any reviewer",
      localTime(one.expiresAt),
    ]),
  );
  if (page.next !== null) terminal.say("there are more");
  terminal.say('look at the system, then: countersign approvals resolve RUN STEP --happened --reason "…"');
  return page.outcomes;
}
