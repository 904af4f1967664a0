import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

import { SMTPServer } from "smtp-server";
import { Webhook } from "standardwebhooks";
import { describe, expect, onTestFinished, test } from "vitest";
import type { TestContext } from "vitest";

import { httpReceiver, noticeWorld } from "../support/notice-world.ts";
import { until } from "../support/world.ts";

type Finished = TestContext["onTestFinished"];
type World = Awaited<ReturnType<typeof noticeWorld>>;
type Address = Parameters<World["client"]["addReceiver"]>[0]["body"]["address"];

const add = (world: World, address: Address, rest: object = {}) =>
  world.client.addReceiver({ body: { team: "shop", address, ...rest } });

const noticesOf = async (world: World, approval: string) =>
  (await world.client.showApproval({ params: { approval: approval as never } })).notices;

/** Waits until a notice of the request is as wanted. */
const notice = (
  world: World,
  approval: string,
  want: (one: Awaited<ReturnType<typeof noticesOf>>[number]) => boolean,
) => until(async () => (await noticesOf(world, approval)).find(want));

const ok = (response: { end(text: string): void }) => response.end("ok");

describe.concurrent("webhooks", () => {
  test("a request is told to the receivers of its groups, signed, with no arguments; its end is told too", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const receiver = await httpReceiver(ok, onTestFinished);
    const { secret, receiver: added } = await add(
      world,
      { kind: "webhook", url: receiver.url },
      { groups: ["treasury"] },
    );
    await add(world, { kind: "webhook", url: receiver.url }, { groups: ["legal"] });
    await add(world, { kind: "webhook", url: receiver.url }, { events: ["cancelled"] });

    const approval = await world.ask();
    await notice(world, approval, ({ state }) => state === "delivered");
    await world.end(approval, "denied");
    await notice(world, approval, ({ event, state }) => event === "decided" && state === "delivered");

    expect(receiver.received).toHaveLength(2);
    const [opened, decided] = receiver.received.map(({ body, headers }) => new Webhook(secret!).verify(body, headers));
    expect(opened).toMatchObject({
      type: "approval.opened",
      data: {
        approval,
        team: "shop",
        agent: "support",
        tool: "refund",
        state: "pending",
        needs: [{ group: "treasury", quorum: 1, policy: "refund/needs-a-person" }],
        link: `https://ask.example.com/approve/${approval}`,
      },
    });
    expect(decided).toMatchObject({ type: "approval.decided", data: { approval, state: "denied" } });
    expect(receiver.received.map(({ body }) => body).join()).not.toContain("18900");
    expect(() => new Webhook(secret!).verify(`${receiver.received[0]!.body} `, receiver.received[0]!.headers)).toThrow(
      "No matching signature",
    );

    // What is secret is in no answer and in no column.
    const list = JSON.stringify(await world.client.listReceivers({}));
    expect(list).toContain(added.id);
    const { rows } = await world.pool.query("select row_to_json(r)::text as row from notice_receiver r");
    for (const text of [list, JSON.stringify(rows)]) {
      expect(text).not.toContain("s3cret");
      expect(text).not.toContain(secret);
    }
    const { rows: kept } = await world.pool.query(
      "select log, event from ledger_outbox where event like '%receiver.added%'",
    );
    expect(kept).toHaveLength(3);
  });

  test("whoever named no events gets all, those of before and those to come; a change counts from then on, and is in the ledger", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const receiver = await httpReceiver(ok, onTestFinished);
    const { receiver: unnamed } = await add(world, { kind: "webhook", url: receiver.url });
    expect(unnamed.events).toBeNull();
    const { receiver: named } = await add(world, { kind: "webhook", url: receiver.url }, { events: ["opened"] });
    // As rows of before are: all that there were then, written out.
    const early = ["opened", "reminded", "escalated", "decided", "expired", "cancelled"];
    const { receiver: old } = await add(world, { kind: "webhook", url: receiver.url }, { events: early as never });
    const migration = await readFile(
      new URL("../../src/store/migrations/0030_all_events.sql", import.meta.url),
      "utf8",
    );
    await world.pool.query(/^update notice_receiver[^;]*;/m.exec(migration)?.[0] ?? "");
    const eventsNow = async () =>
      new Map((await world.client.listReceivers({})).receivers.map(({ id, events }) => [id, events]));
    expect(await eventsNow()).toEqual(
      new Map([
        [unnamed.id, null],
        [named.id, ["opened"]],
        [old.id, null],
      ]),
    );
    const told = async (request: Awaited<ReturnType<typeof world.ask>>) =>
      (await world.client.showApproval({ params: { approval: request } })).notices
        .filter(({ event }) => event === "cancelled")
        .map((one) => one.receiver)
        .toSorted();
    const first = await world.ask();
    await world.end(first, "cancelled");
    expect(await told(first)).toEqual([unnamed.id, old.id].toSorted());
    await world.client.changeReceiver({ params: { receiver: named.id }, body: { events: null } });
    await world.client.changeReceiver({ params: { receiver: old.id }, body: { events: ["decided"] } });
    const second = await world.ask();
    await world.end(second, "cancelled");
    expect(await told(second)).toEqual([unnamed.id, named.id].toSorted());
    const { rows } = await world.pool.query<{ facts: object }>(
      "select event::json -> 'facts' as facts from ledger_outbox where event like '%receiver.changed%' order by id",
    );
    expect(rows.map(({ facts }) => facts)).toMatchObject([
      { receiver: named.id, events: ["*"] },
      { events: ["decided"] },
    ]);
    for (const change of ["shown = 'elsewhere'", "settings = repeat('0', 64)", "team = 'bank'"])
      await expect(world.pool.query(`update notice_receiver set ${change}`)).rejects.toThrow(
        "its address never changed",
      );
  });

  test("a receiver that is down, then busy, gets it in the end: the same id, the same body, each attempt signed anew", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const receiver = await httpReceiver((response, _got, n) => {
      if (n === 1) response.socket?.destroy();
      else response.writeHead(n === 2 ? 503 : 204, { "retry-after": "20" }).end();
    }, onTestFinished);
    const { secret } = await add(world, { kind: "webhook", url: receiver.url });
    const approval = await world.ask();
    const first = await notice(world, approval, ({ attempts, reason }) => attempts === 1 && reason !== null);
    expect(first).toMatchObject({ state: "queued", reason: "ECONNRESET" });
    expect((await world.client.listReceivers({})).receivers[0]).toMatchObject({ queued: 1, reason: "ECONNRESET" });
    world.forward(10_000);
    const second = await notice(world, approval, ({ attempts, reason }) => attempts === 2 && reason !== "ECONNRESET");
    expect(second.reason).toBe("the receiver answered 503");
    expect(Date.parse(second.due!) - world.now().getTime()).toBeGreaterThan(15_000);
    world.forward(25_000);
    await notice(world, approval, ({ state }) => state === "delivered");
    expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1);
    for (const { body, headers } of receiver.received) new Webhook(secret!).verify(body, headers);
  });

  test("escalations and reminders that fall due together for several requirements are one notice each, with the request's link", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const [managers, legal] = [await httpReceiver(ok, onTestFinished), await httpReceiver(ok, onTestFinished)];
    await add(world, { kind: "webhook", url: managers.url }, { groups: ["managers"] });
    await add(world, { kind: "webhook", url: legal.url }, { groups: ["legal"], events: ["reminded"] });
    const terms = {
      quorum: 1,
      expiresMs: 7_200_000,
      remindMs: 3_600_000,
      escalate: { afterMs: 3_600_000, to: ["managers"] },
    };
    const approval = await world.ask({
      requirements: [
        { policy: "two", group: "treasury", ...terms },
        { policy: "two", group: "legal", ...terms, escalate: { ...terms.escalate, to: ["managers", "directors"] } },
      ],
      expiresAt: new Date(world.now().getTime() + 7_200_000),
    });
    const other = await world.ask();
    world.forward(3_600_000 - 1_000);
    expect(managers.received).toHaveLength(0);
    // The server's own clock notes it, and its own delivery sends it.
    world.forward(1_000);
    await notice(world, approval, ({ event, state }) => event === "escalated" && state === "delivered");
    await notice(world, approval, ({ event, state }) => event === "reminded" && state === "delivered");
    const escalated = async () => {
      const { rows } = await world.pool.query<{ count: number }>(
        "select count(*)::int as count from ledger_outbox where event like '%approval.escalated%'",
      );
      return rows[0]?.count;
    };
    // Each requirement's has an entry of its own: who may decide by which of them is told apart there.
    expect(await escalated()).toBe(2);
    // Another round of the clock and of the delivery adds nothing.
    await world.ask();
    world.forward(4_000);
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    expect(managers.received).toHaveLength(1);
    const body = managers.received[0]?.body ?? "";
    expect(JSON.parse(body)).toMatchObject({
      type: "approval.escalated",
      data: {
        approval,
        state: "pending",
        concerns: ["directors", "managers"],
        link: `https://ask.example.com/approve/${approval}`,
      },
    });
    expect(body).not.toContain(other);
    expect(legal.received.map((got) => JSON.parse(got.body) as object)).toMatchObject([
      { type: "approval.reminded", data: { approval, concerns: ["legal", "treasury"] } },
    ]);
  });

  test("410 disables it, and shows; the others that waited for it have failed", async ({ onTestFinished }) => {
    const world = await noticeWorld({ onTestFinished });
    const receiver = await httpReceiver((response) => response.writeHead(410).end(), onTestFinished);
    const { receiver: added } = await add(world, { kind: "webhook", url: receiver.url });
    const approval = await world.ask();
    expect(await notice(world, approval, ({ state }) => state === "failed")).toMatchObject({ attempts: 1 });
    const { receivers } = await world.client.listReceivers({ query: { team: "shop" } });
    expect(receivers[0]!.disabled).toMatchObject({ reason: "the receiver answered 410: it wants no more" });
    expect(await noticesOf(world, await world.ask())).toEqual([]);
    await expect(world.client.testReceiver({ params: { receiver: added.id } })).rejects.toMatchObject({
      code: "receiver_closed",
    });
  });

  test("removed: what waited is withdrawn, its address is gone from the store, and nothing more is sent", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const receiver = await httpReceiver((response) => response.writeHead(500).end(), onTestFinished);
    const { receiver: added } = await add(world, { kind: "webhook", url: receiver.url });
    const approval = await world.ask();
    await notice(world, approval, ({ attempts, reason }) => attempts === 1 && reason !== null);
    expect(await world.client.removeReceiver({ params: { receiver: added.id } })).toEqual({ changed: true });
    expect(await world.client.removeReceiver({ params: { receiver: added.id } })).toEqual({ changed: false });
    expect((await noticesOf(world, approval))[0]).toMatchObject({ state: "withdrawn", due: null });
    const { rows } = await world.pool.query(
      "select settings from notice_receiver join payload on payload.digest = settings",
    );
    expect(rows).toEqual([]);
    expect((await world.client.listReceivers({})).receivers).toEqual([]);
  });

  test("a private address is refused when it is added, and when its name leads there", async ({ onTestFinished }) => {
    const world = await noticeWorld({ onTestFinished, env: { COUNTERSIGN_NOTIFY_ALLOW: "" } });
    await expect(add(world, { kind: "webhook", url: "https://127.0.0.1/x" })).rejects.toMatchObject({
      code: "address_refused",
    });
    const { receiver: added } = await add(world, { kind: "webhook", url: "https://localhost/x" });
    const answer = await world.client.testReceiver({ params: { receiver: added.id } });
    expect(answer.delivered).toBe(false);
    expect(answer.reason).toMatch(/^(127\.0\.0\.1|::1) is not a public address$/);
    await expect(add(world, { kind: "email", to: "a@example.com" })).rejects.toMatchObject({ code: "mail_not_set_up" });
  });

  test("the queue: written with the request or not at all, taken by one only, and again after the lease", async ({
    onTestFinished,
  }) => {
    const { takeDue, recordOutcome } = await import("../../src/notify/index.ts");
    const { inTransaction } = await import("../../src/store/index.ts");
    const world = await noticeWorld({ onTestFinished, serve: false });
    const { addReceiver } = await import("../../src/notify/index.ts");
    const { testKeys } = await import("../support/test-server.ts");
    const settings = { kind: "email", to: "a@example.com" } as const;
    const events = ["opened", "decided"] as const;
    await addReceiver(world.pool, testKeys, {
      team: "shop",
      groups: [],
      events,
      level: "link",
      by: "operator",
      settings,
      now: world.now(),
    });
    await inTransaction(world.pool, async (tx) => {
      await world.ask({}, tx);
      throw new Error("rolled back");
    }).catch(() => undefined);
    await world.ask();
    const taking = { leaseMs: 60_000, limit: 10, perReceiver: 10 };
    const now = world.now();
    const [mine, theirs] = await Promise.all([
      inTransaction(world.pool, (tx) => takeDue(tx, { ...taking, now })),
      inTransaction(world.pool, (tx) => takeDue(tx, { ...taking, now })),
    ]);
    expect(mine.length + theirs.length).toBe(1);
    const [lost] = [...mine, ...theirs];
    const later = new Date(now.getTime() + 60_001);
    const [again] = await takeDue(world.pool, { ...taking, now: later });
    expect(again).toMatchObject({ id: lost!.id, attempts: 2 });
    // The one who was slow has nothing to say any more.
    expect(await recordOutcome(world.pool, lost!, { status: "delivered" }, later, 0)).toBe(false);
    expect(await recordOutcome(world.pool, again!, { status: "retry", reason: "no" }, later, 0)).toBe(true);
    const day = new Date(now.getTime() + 86_400_001);
    const [last] = await takeDue(world.pool, { ...taking, now: day });
    expect(await recordOutcome(world.pool, last!, { status: "retry", reason: "no" }, day, 0)).toBe(true);
    const { rows } = await world.pool.query("select state, attempts, reason from notice");
    expect(rows).toEqual([{ state: "failed", attempts: 3, reason: "no" }]);
    await expect(world.pool.query("update notice set state = 'queued', ended_at = null")).rejects.toThrow(
      "cannot change",
    );
    await expect(world.pool.query("delete from notice")).rejects.toThrow("cannot change");
    await expect(world.pool.query("update notice_receiver set shown = 'elsewhere'")).rejects.toThrow("never changed");
  });
});

describe.concurrent("mail", () => {
  async function mailServer(finished: Finished, onRcpt?: (address: string) => Error | undefined) {
    const mails: string[] = [];
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ["AUTH", "STARTTLS"],
      onRcptTo: ({ address }, _session, done) => done(onRcpt?.(address)),
      onData(stream, _session, done) {
        const pieces: Buffer[] = [];
        stream.on("data", (piece: Buffer) => pieces.push(piece));
        stream.on("end", () => {
          mails.push(Buffer.concat(pieces).toString("utf8"));
          done();
        });
      },
    });
    server.listen(0, "127.0.0.1");
    await once(server.server, "listening");
    finished(async () => {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    });
    const url = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
    return { mails, env: { COUNTERSIGN_SMTP_URL: url, COUNTERSIGN_SMTP_FROM: "Asks <asks@example.com>" } };
  }

  test("arrives at a real mail server; names cannot add headers or markup; the full level has the arguments", async ({
    onTestFinished,
  }) => {
    const { mails, env } = await mailServer(onTestFinished);
    const world = await noticeWorld({ onTestFinished, env });
    await add(world, { kind: "email", to: "rita@example.com" }, { level: "full", events: ["opened"] });
    const approval = await world.ask({
      name: "x\r\nBcc: eve@example.com\r\n\r\n<img src=1>",
      text: 'arguments:\n  amount_cents: 18900\n  note: "<script>alert(1)</script>"\n',
    });
    await notice(world, approval, ({ state }) => state === "delivered");
    // Without the line breaks of quoted-printable.
    const mail = (mails[0] ?? "").replaceAll("=\r\n", "");
    const page = mail.slice(mail.indexOf("Content-Type: text/html"));
    const head = mail.slice(0, mail.indexOf("\r\n\r\n"));
    expect(head).toContain("To: rita@example.com");
    expect(head).toContain("From: Asks <asks@example.com>");
    expect(head).toMatch(/Message-ID: <ntc_[0-9a-f]{32}@countersign>/i);
    expect(head).not.toMatch(/^Bcc:/im);
    expect(mail).toContain("18900");
    expect(page).toContain("&lt;script&gt;");
    expect(page).not.toMatch(/<(script|img)/);
    expect(page).toContain(`https://ask.example.com/approve/${approval}`);
  });

  test("an address that the server refuses for good has failed at once; a request that ended meanwhile is not asked about", async ({
    onTestFinished,
  }) => {
    let down = true;
    const { mails, env } = await mailServer(onTestFinished, (address) => {
      if (address.startsWith("nobody")) return Object.assign(new Error("no such user"), { responseCode: 550 });
      return down ? Object.assign(new Error("later"), { responseCode: 450 }) : undefined;
    });
    const world = await noticeWorld({ onTestFinished, env });
    await add(world, { kind: "email", to: "nobody@example.com" }, { events: ["opened"] });
    await add(world, { kind: "email", to: "rita@example.com" }, { events: ["opened"] });
    const approval = await world.ask();
    const failed = await notice(world, approval, ({ state }) => state === "failed");
    expect(failed).toMatchObject({ shown: "nobody@example.com", reason: "the mail server answered 550" });
    const waits = await notice(world, approval, ({ shown, reason }) => shown.startsWith("rita") && reason !== null);
    expect(waits).toMatchObject({ state: "queued", reason: "the mail server answered 450" });
    down = false;
    await world.end(approval, "approved");
    world.forward(10_000);
    expect(await notice(world, approval, ({ state }) => state === "withdrawn")).toMatchObject({ attempts: 2 });
    expect(mails).toEqual([]);
  });
});

// What has a short time alone: nothing else takes it from them.
describe("what hangs", () => {
  test("a receiver that hangs, one that redirects, and one that never stops answering hold up nobody and cost no memory", async () => {
    const world = await noticeWorld({ env: { COUNTERSIGN_NOTIFY_TIMEOUT_MS: "2000" } });
    const elsewhere = await httpReceiver(ok);
    const hanging = await httpReceiver(() => undefined);
    const redirecting = await httpReceiver((response) => response.writeHead(307, { location: elsewhere.url }).end());
    const chunk = Buffer.alloc(1024 * 1024, "x");
    let written = 0;
    const endless = await httpReceiver((response) => {
      const more = (): void => {
        if (written >= 500 || response.destroyed) return;
        written += 1;
        response.write(chunk, more);
      };
      response.writeHead(200);
      more();
    });
    const good = await httpReceiver(ok);
    for (const { url } of [hanging, redirecting, endless, good]) await add(world, { kind: "webhook", url });
    const approval = await world.ask();
    await until(async () => {
      const all = await noticesOf(world, approval);
      return all.every(({ state, reason }) => state === "delivered" || reason !== null) ? true : undefined;
    });
    const states = (await noticesOf(world, approval)).map(({ state, reason }) => `${state} ${reason}`).toSorted();
    expect(states).toEqual([
      "delivered null",
      "delivered null",
      "queued no answer in 2 s",
      "queued the receiver answered 307, and redirects are not followed",
    ]);
    expect(elsewhere.received).toEqual([]);
    // Some megabytes are in the buffers of the sockets.
    expect(written).toBeLessThan(50);
  });
});

describe("a mail server", () => {
  test("that hangs fails by the time of an attempt, and is asked again", async () => {
    const connections: Socket[] = [];
    const server = createTcpServer((socket) => void connections.push(socket));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      for (const socket of connections) socket.destroy();
      server.close();
    });
    const url = `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const env = { COUNTERSIGN_SMTP_URL: url, COUNTERSIGN_SMTP_FROM: "asks@example.com" };
    const world = await noticeWorld({ env: { ...env, COUNTERSIGN_NOTIFY_TIMEOUT_MS: "1000" } });
    await add(world, { kind: "email", to: "rita@example.com" });
    const approval = await world.ask();
    const late = await notice(world, approval, ({ reason }) => reason !== null);
    expect(late).toMatchObject({ state: "queued", attempts: 1, reason: "no answer in 1 s" });
    expect(connections).toHaveLength(1);
    world.forward(10_000);
    await until(async () => (connections.length === 2 ? true : undefined));
  });

  test.each([
    ["other than this machine", "0.0.0.0", false],
    ["on this machine", "127.0.0.1", true],
  ])("%s gets a password over TLS or not at all", async (_name, host, isGiven) => {
    const passwords: string[] = [];
    const server = new SMTPServer({
      disabledCommands: ["STARTTLS"],
      allowInsecureAuth: true,
      onAuth({ password }, _session, done) {
        passwords.push(password ?? "");
        done(null, { user: "asks" });
      },
      onData(stream, _session, done) {
        stream.resume().on("end", () => done());
      },
    });
    server.listen(0, "127.0.0.1");
    await once(server.server, "listening");
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
    const url = `smtp://asks:hunter2@${host}:${(server.server.address() as AddressInfo).port}`;
    const world = await noticeWorld({ env: { COUNTERSIGN_SMTP_URL: url, COUNTERSIGN_SMTP_FROM: "asks@example.com" } });
    await add(world, { kind: "email", to: "rita@example.com" });
    const approval = await world.ask();
    const told = await notice(world, approval, ({ state, reason }) => state === "delivered" || reason !== null);
    expect([told.state, passwords]).toEqual(isGiven ? ["delivered", ["hunter2"]] : ["queued", []]);
  });
});

describe.concurrent("Slack", () => {
  test("an incoming webhook that is gone is disabled; one that is busy is asked when it says, as seconds or as a date", async ({
    onTestFinished,
  }) => {
    const world = await noticeWorld({ onTestFinished });
    const gone = await httpReceiver((response) => response.writeHead(404).end("no_service"), onTestFinished);
    const lost = await httpReceiver((response) => response.writeHead(404).end("a proxy's page"), onTestFinished);
    const later = new Date(world.now().getTime() + 1_800_000).toUTCString();
    const busy = await httpReceiver(
      (response) => response.writeHead(429, { "retry-after": "1800" }).end(),
      onTestFinished,
    );
    const dated = await httpReceiver(
      (response) => response.writeHead(429, { "retry-after": later }).end(),
      onTestFinished,
    );
    for (const { url } of [gone, lost, busy, dated]) await add(world, { kind: "slack", url });
    const approval = await world.ask();
    const all = await until(async () => {
      const told = await noticesOf(world, approval);
      return told.length === 4 && told.every(({ reason }) => reason !== null) ? told : undefined;
    });
    expect(all.map(({ state, reason }) => [state, reason])).toEqual([
      ["failed", "Slack answered 404: the webhook is gone"],
      ["queued", "the receiver answered 404"],
      ["queued", "the receiver answered 429"],
      ["queued", "the receiver answered 429"],
    ]);
    const waits = all.map(({ due }) => (due === null ? 0 : Date.parse(due) - Date.parse(later)));
    expect(waits[1]).toBeLessThan(-600_000);
    for (const wait of waits.slice(2)) expect(Math.abs(wait)).toBeLessThan(600_000);
    const { receivers } = await world.client.listReceivers({});
    expect(receivers.map(({ disabled }) => disabled !== null)).toEqual([false, false, false, true]);
  });

  test("a bot posts blocks with a link and no button; mentions in names are words; a revoked token disables", async ({
    onTestFinished,
  }) => {
    let revoked = false;
    const slack = await httpReceiver(
      (response) => response.end(JSON.stringify(revoked ? { ok: false, error: "token_revoked" } : { ok: true })),
      onTestFinished,
    );
    const api = new URL(slack.url).origin;
    const world = await noticeWorld({ onTestFinished, env: { COUNTERSIGN_SLACK_API_URL: `${api}/api/` } });
    const token = "xoxb-1234567890-abcdef";
    await add(world, { kind: "slack", token, conversation: "C0123456789" }, { events: ["opened"] });
    const approval = await world.ask({ name: "<!channel> *now* <https://evil.example|click>" });
    await notice(world, approval, ({ state }) => state === "delivered");
    const [posted] = slack.received;
    expect(posted).toMatchObject({ url: "/api/chat.postMessage", headers: { authorization: `Bearer ${token}` } });
    const message = JSON.parse(posted!.body) as { channel: string; text: string; blocks: { type: string }[] };
    expect(message.channel).toBe("C0123456789");
    expect(message.text).toContain("&lt;!channel&gt;");
    expect(posted!.body).not.toContain("<!channel>");
    expect(posted!.body).not.toContain("<https://evil");
    expect(posted!.body).toContain(`<https://ask.example.com/approve/${approval}|`);
    expect(posted!.body).not.toContain("18900");
    expect(posted!.body).not.toMatch(/"(button|actions|action_id)"/);
    revoked = true;
    const next = await world.ask();
    expect(await notice(world, next, ({ state }) => state === "failed")).toMatchObject({
      reason: "Slack refused it: token_revoked",
    });
    expect(JSON.stringify(await world.client.listReceivers({}))).not.toContain(token);
  });

  test("an incoming webhook gets the same", async ({ onTestFinished }) => {
    const world = await noticeWorld({ onTestFinished });
    const slack = await httpReceiver(ok, onTestFinished);
    const { receiver: added } = await add(world, { kind: "slack", url: slack.url });
    expect(added.shown).not.toContain("key");
    expect(await world.client.testReceiver({ params: { receiver: added.id } })).toEqual({
      delivered: true,
      reason: null,
    });
    expect(JSON.parse(slack.received[0]!.body)).toMatchObject({ text: "Countersign can reach you here" });
  });
});
