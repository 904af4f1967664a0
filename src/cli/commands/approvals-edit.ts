import type { Command } from "commander";

import type { Action } from "../../core/action.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { contentDigest } from "../../store/canonical.ts";
import { describeApproval } from "../approval-text.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { readText } from "../read-text.ts";

type EditFlags = {
  readonly set: readonly string[];
  readonly arguments?: string;
  readonly reason: string;
  readonly key?: string;
  readonly yes?: true;
};

export function addEditCommand(approvals: Command): void {
  approvals
    .command("edit <approval>")
    .description("change the call's arguments; the new call is decided on anew, and the agent is told")
    .option(
      "--set <name=value>",
      "one argument: JSON, or text that is not JSON; repeat it",
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option("--arguments <file>", "all of the new arguments, as a JSON object")
    .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)")
    .option("--reason <text>", "why; it is told to the agent", "")
    .option("--yes", "do not ask")
    .action((id: ApprovalId, flags: EditFlags, command: Command) => edit(cliOf(command), id, flags));
}

async function edit(cli: Cli, id: ApprovalId, flags: EditFlags): Promise<void> {
  const { reviewer, terminal } = cli;
  const { readPrivateKey, signStatementOf } = await import("../sign-decision.ts");
  const { renderChange } = await import("../../approvals/index.ts");
  const detail = await reviewer.showApproval({ params: { approval: id } });
  const say = terminal.json ? terminal.note : terminal.say;
  describeApproval(say, detail);
  const action = detail.call as unknown as Action | null;
  const digestOf = (value: Json): string => contentDigest(detail.salt ?? undefined, value);
  // The server may show one action and have another decided on: what is changed is the one that was decided on.
  if (action === null || digestOf(action as unknown as Json) !== detail.statement.action) {
    throw new CliError("not_editable", "this cannot be edited", {
      hint: `say what would do: countersign approvals deny ${id} --reason "…"`,
    });
  }
  const before = action.arguments as JsonObject;
  const args = changedArguments(before, flags);
  const lines = renderChange(before, args);
  if (lines.length === 0) throw new CliError("usage", "nothing is changed: give --set NAME=VALUE or --arguments FILE");
  say("to:");
  for (const line of lines) say(`  ${line}`);
  const privateKey = readPrivateKey(flags.key ?? cli.connection.keyFile);
  if (flags.yes !== true && !(await terminal.confirm("Change it so?"))) {
    throw new CliError("not_confirmed", "nothing was changed", {
      hint: terminal.interactive ? "answer y to change it" : "read it above, then add --yes",
    });
  }
  const statement = {
    ...detail.statement,
    type: "countersign/edit/v1",
    rendered: digestOf(detail.rendered),
    edited: digestOf({ ...action, arguments: args } as unknown as Json),
    arguments: digestOf(args),
  };
  const { body, reviewer: me } = await signStatementOf(reviewer, statement, { reason: flags.reason }, privateKey);
  const answer = await reviewer.editApproval({ params: { approval: id }, body: { ...body, arguments: args } });
  terminal.say(`changed as ${me}; the policy decides on the new call, and may ask others to approve it`);
  if (!answer.woken) terminal.say("the run could not be told yet; the server tells it within seconds");
  terminal.result(answer);
}

function changedArguments(before: JsonObject, flags: EditFlags): JsonObject {
  const base = flags.arguments === undefined ? before : parsedObject(readText(flags.arguments), flags.arguments);
  return flags.set.reduce<JsonObject>((args, text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new CliError("usage", `--set takes NAME=VALUE, not \`${text}\``);
    return { ...args, [text.slice(0, at)]: valueOf(text.slice(at + 1)) };
  }, base);
}

/** JSON, or text that is not JSON. */
export function valueOf(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

function parsedObject(text: string, file: string): JsonObject {
  const value = valueOf(text);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new CliError("usage", `\`${file}\` holds no JSON object`);
  return value as JsonObject;
}
