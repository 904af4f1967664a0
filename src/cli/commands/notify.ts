import { readFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";

import { Option } from "commander";
import type { Command } from "commander";

import type { CallOf } from "../../api/index.ts";
import { noticeEvents, noticeLevels } from "../../core/notice.ts";
import type { NoticeEvent, NoticeLevel } from "../../core/notice.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { brief } from "../terminal.ts";
import { positive } from "./run.ts";

type Address = CallOf<"addReceiver">["body"]["address"];
type CommonFlags = {
  readonly team: string;
  readonly group: readonly string[];
  readonly requester?: string;
  readonly event: readonly NoticeEvent[];
  readonly level: NoticeLevel;
};
type SlackFlags = CommonFlags & { readonly secretFile: string; readonly conversation?: string };
type ChangeFlags = {
  readonly event?: readonly NoticeEvent[];
  readonly allEvents?: true;
  readonly group?: readonly string[];
  readonly allGroups?: true;
  readonly level?: NoticeLevel;
};
type ListFlags = { readonly team?: string; readonly limit: number; readonly cursor?: string };

export function addNotifyCommands(program: Command): void {
  const notify = program.command("notify").description("who is told of approval requests: webhooks, e-mail, Slack");
  const add = notify.command("add").description("have somebody told of a team's requests");
  common(add.command("webhook <url>"))
    .description("POST signed JSON (Standard Webhooks); prints the secret once")
    .action((url: string, flags: CommonFlags, command: Command) =>
      addOne(cliOf(command), flags, { kind: "webhook", url }),
    );
  common(add.command("email <address>"))
    .description("send mail, by the server's COUNTERSIGN_SMTP_URL")
    .action((to: string, flags: CommonFlags, command: Command) => addOne(cliOf(command), flags, { kind: "email", to }));
  common(add.command("slack"))
    .description("post to a conversation; nothing can be decided there")
    .requiredOption(
      "--secret-file <file>",
      "an incoming webhook's URL or a bot's token, as the file's text; - is stdin",
    )
    .option("--conversation <id>", "with a bot's token: where to, such as C0123456789")
    .action(async (flags: SlackFlags, command: Command) => addOne(cliOf(command), flags, await slackAddress(flags)));
  notify
    .command("list")
    .description("receivers, newest first, and how their latest hundred notices fared")
    .option("--team <team>")
    .option("--limit <n>", "how many", positive, 50)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  notify
    .command("test <receiver>")
    .description("send a test now, once; exit code 1 where it does not arrive")
    .action((id: string, _flags, command: Command) => test(cliOf(command), id));
  notify
    .command("change <receiver>")
    .description("change what it gets from now on; its address stays")
    .addOption(new Option("--event <event...>", "only these events").choices(noticeEvents).conflicts("allEvents"))
    .option("--all-events", "every event, those that come to be later too")
    .option("--group <group...>", "only requests that ask one of these groups")
    .option("--all-groups", "every request of the team")
    .addOption(new Option("--level <level>", "how much it is told").choices(noticeLevels))
    .action((id: string, flags: ChangeFlags, command: Command) => change(cliOf(command), id, flags));
  notify
    .command("remove <receiver>")
    .description("tell it nothing more; its address and secret are forgotten")
    .action((id: string, _flags, command: Command) => remove(cliOf(command), id));
}

function common(command: Command): Command {
  const collect = (value: string, all: string[]): string[] => [...all, value];
  return command
    .requiredOption("--team <team>")
    .option("--group <group>", "only requests that ask this group; may be repeated", collect, [])
    .option("--requester <principal>", "only what is about runs that they asked for")
    .addOption(new Option("--event <event...>", "only these events").choices(noticeEvents).default([], "all of them"))
    .addOption(
      new Option("--level <level>", "how much it is told; `full` sends arguments")
        .choices(noticeLevels)
        .default("summary"),
    );
}

async function addOne({ client, terminal }: Cli, flags: CommonFlags, address: Address): Promise<void> {
  const { team, group, requester, event, level } = flags;
  const body = {
    team,
    groups: [...group],
    level,
    address,
    ...(requester === undefined ? {} : { requester }),
    ...(event.length === 0 ? {} : { events: [...event] }),
  };
  const added = await client.addReceiver({ body });
  const { id, shown } = added.receiver;
  terminal.say(`${id}: ${brief(shown, 80)} is told of requests of team ${team} (${level})`);
  if (added.secret !== null) terminal.say(`secret, shown this once: ${added.secret}`);
  terminal.say(`  try it: countersign notify test ${id}`);
  terminal.result(added);
}

/** Arguments are seen by others on the machine, and kept by shells. */
async function slackAddress({ secretFile, conversation }: SlackFlags): Promise<Address> {
  const secret = (await (secretFile === "-" ? readAll(process.stdin) : readFile(secretFile, "utf8")).catch(unreadable))
    .trim()
    .slice(0, 4_000);
  if (secret.startsWith("https:") || secret.startsWith("http:")) return { kind: "slack", url: secret };
  if (conversation === undefined) {
    throw new CliError("usage", "a bot's token needs --conversation", {
      hint: "its id is at the end of the conversation's details in Slack: C0123456789",
    });
  }
  return { kind: "slack", token: secret, conversation };
}

function unreadable(cause: unknown): never {
  throw new CliError("file_unreadable", "the file with Slack's secret cannot be read", { cause });
}

async function list({ client, terminal }: Cli, flags: ListFlags): Promise<void> {
  const page = await client.listReceivers({ query: flags });
  if (page.receivers.length === 0) {
    terminal.say("nobody is told of requests; add somebody: countersign notify add webhook URL --team TEAM");
  } else {
    terminal.table(
      [
        "receiver",
        "team",
        "groups",
        "kind",
        "where",
        "level",
        "events",
        "delivered",
        "queued",
        "failed",
        "last trouble",
      ],
      page.receivers.map((one) => [
        one.id,
        one.team,
        [
          one.groups.length === 0 ? "all" : one.groups.join(", "),
          ...(one.requester === null ? [] : [`asked for by ${one.requester}`]),
        ].join("; "),
        one.kind,
        brief(one.shown, 40),
        one.level,
        eventsText(one),
        String(one.delivered),
        String(one.queued),
        String(one.failed),
        one.disabled === null ? brief(one.reason ?? "", 80) : `disabled: ${brief(one.disabled.reason, 70)}`,
      ]),
    );
    if (page.next !== null) terminal.say(`more: countersign notify list --cursor ${page.next}`);
  }
  terminal.result(page);
}

async function test({ client, terminal }: Cli, receiver: string): Promise<void> {
  const answer = await client.testReceiver({ params: { receiver } });
  if (!answer.delivered) {
    throw new CliError("not_delivered", `the test was not delivered: ${brief(answer.reason ?? "", 200)}`, {
      hint: "see docs/delivery.md; what is due is tried again for 24 hours",
    });
  }
  terminal.say("the test was delivered");
  terminal.result(answer);
}

async function change({ client, terminal }: Cli, receiver: string, flags: ChangeFlags): Promise<void> {
  const { event, allEvents, group, allGroups, level } = flags;
  if (group !== undefined && allGroups === true)
    throw new CliError("usage", "either --group or --all-groups: not both");
  const body = {
    ...(event === undefined ? {} : { events: [...event] }),
    ...(allEvents === undefined ? {} : { events: null }),
    ...(group === undefined ? {} : { groups: [...group] }),
    ...(allGroups === undefined ? {} : { groups: [] }),
    ...(level === undefined ? {} : { level }),
  };
  if (Object.keys(body).length === 0)
    throw new CliError("usage", "what is to change? --event, --all-events, --group, --all-groups or --level");
  const answer = await client.changeReceiver({ params: { receiver }, body });
  const { groups, level: now } = answer.receiver;
  const whose =
    groups.length === 0 ? `all requests of team ${answer.receiver.team}` : `requests that ask ${groups.join(", ")}`;
  terminal.say(
    `${receiver} ${answer.changed ? "now gets" : "got before"}: ${eventsText(answer.receiver)} of ${whose} (${now})`,
  );
  terminal.result(answer);
}

function eventsText({ events }: { readonly events: readonly NoticeEvent[] | null }): string {
  return events === null ? "all events" : events.join(", ");
}

async function remove({ client, terminal }: Cli, receiver: string): Promise<void> {
  const answer = await client.removeReceiver({ params: { receiver } });
  terminal.say(answer.changed ? `${receiver} is told nothing more` : `${receiver} was removed before`);
  terminal.result(answer);
}
