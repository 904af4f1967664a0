import type { Command } from "commander";

import type { ApprovalId } from "../../core/ids.ts";
import { describeMessages } from "../approval-text.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";

export function addAskCommands(approvals: Command): void {
  approvals
    .command("ask <approval> <question>")
    .description("ask who started the run, before you decide; the request's time goes on")
    .action((id: ApprovalId, text: string, _flags, command: Command) => ask(cliOf(command), id, text));
  approvals
    .command("answer <approval> <text>")
    .description("answer what a reviewer asked about your run")
    .action((id: ApprovalId, text: string, _flags, command: Command) => answer(cliOf(command), id, text));
}

async function ask({ reviewer, terminal }: Cli, id: ApprovalId, text: string): Promise<void> {
  const { messages } = await reviewer.askApproval({ params: { approval: id }, body: { text } });
  describeMessages(terminal.say, messages);
  terminal.say(`they answer with: countersign approvals answer ${id} "…"`);
  terminal.result({ messages });
}

async function answer({ client, terminal }: Cli, id: ApprovalId, text: string): Promise<void> {
  const { messages } = await client.answerApproval({ params: { approval: id }, body: { text } });
  describeMessages(terminal.say, messages);
  terminal.result({ messages });
}
