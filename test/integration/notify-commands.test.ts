import { expect, test } from "vitest";

import { launch } from "../e2e/program.ts";
import { httpReceiver, noticeWorld } from "../support/notice-world.ts";
import { until } from "../support/world.ts";

test("the commands: a secret once, an empty list that says what to do, a failed test that ends in 1, and what a request's notices say", async () => {
  const world = await noticeWorld();
  const env = { COUNTERSIGN_HOME: "/nonexistent", COUNTERSIGN_URL: world.url, COUNTERSIGN_TOKEN: world.token };
  const run = (args: readonly string[], input?: string) => launch(args, env, input).ended;
  const slack = await httpReceiver((response) => response.writeHead(503).end());
  const hook = await httpReceiver((response) => response.end());

  expect((await run(["notify", "list"])).stdout).toContain("countersign notify add webhook URL --team TEAM");
  const added = await run(["notify", "add", "webhook", hook.url, "--team", "shop", "--group", "treasury", "--json"]);
  const { receiver, secret } = JSON.parse(added.stdout) as { receiver: { id: string }; secret: string };
  expect(secret).toMatch(/^whsec_/);
  const chat = await run(
    ["notify", "add", "slack", "--team", "shop", "--secret-file", "-", "--event", "opened"],
    slack.url,
  );
  expect(chat).toMatchObject({ code: 0 });
  expect(chat.stdout).not.toContain("s3cret");
  const id = /rcv_\w+/.exec(chat.stdout)?.[0] ?? "";
  expect(await run(["notify", "test", receiver.id])).toMatchObject({ code: 0, stdout: "the test was delivered\n" });
  const failed = await run(["notify", "test", id]);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain("the receiver answered 503");

  const approval = await world.ask();
  await until(async () => {
    const { notices } = await world.client.showApproval({ params: { approval } });
    const over = notices.filter(({ state, reason }) => state === "delivered" || reason !== null);
    return over.length === 2 ? true : undefined;
  });
  const shown = await run(["approvals", "show", approval]);
  expect(shown.stdout).toMatch(/told webhook http:\/\/127\.0\.0\.1:\d+\/… \(opened\)/);
  expect(shown.stdout).toMatch(
    /has not told slack .* \(opened\) in 1 attempts, tries again at .*: the receiver answered 503/,
  );
  const list = await run(["notify", "list", "--team", "shop"]);
  expect(list.stdout).not.toMatch(/s3cret|whsec_/);
  expect(list.stdout).toContain("the receiver answered 503");
  // What it gets is changed, and trouble shows where nobody looks for it.
  const doctor = await run(["doctor"]);
  expect(doctor.stdout + doctor.stderr).toMatch(/1 of 2 receivers have trouble: rcv_\w+: the receiver answered 503/);
  expect(list.stdout).toMatch(/webhook .* all /);
  const change = (...args: string[]) => run(["notify", "change", receiver.id, ...args]);
  expect((await change("--event", "opened", "decided", "--level", "link", "--all-groups")).stdout).toContain(
    "now gets: opened, decided of all requests of team shop (link)",
  );
  expect((await change("--all-events", "--group", "legal")).stdout).toContain(
    "now gets: all events of requests that ask legal",
  );
  for (const args of [[], ["--group", "a", "--all-groups"]])
    expect([args, (await change(...args)).code]).toEqual([args, 2]);
  expect(await run(["notify", "remove", receiver.id])).toMatchObject({ code: 0 });
  expect((await change("--all-events")).stderr).toContain("is removed");
  expect(
    (await run(["notify", "add", "slack", "--team", "shop", "--secret-file", "-"], "xoxb-1234567890-a")).code,
  ).toBe(2);
  const report = await run(["approvals", "report", "--team", "shop"]);
  expect(report.stdout).toContain("refund/needs-a-person");
});
