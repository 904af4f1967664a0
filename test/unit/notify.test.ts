import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { createAddressGuard, nextAttempt, notifyOptionsOf } from "../../src/notify/index.ts";
import type { NoticeFacts } from "../../src/notify/index.ts";
import { mailOf } from "../../src/notify/mail.ts";
import { escapeSlack, slackMessage } from "../../src/notify/slack.ts";
import { textOf } from "../../src/notify/texts.ts";

describe("addresses", () => {
  const strict = createAddressGuard("");
  test.each([
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[::]/",
    "http://93.184.215.14/",
    "http://example.com/",
    "ftp://example.com/",
    "https://user:password@example.com/",
  ])("%s is refused", (url) => {
    expect(() => strict.assertUrl(new URL(url))).toThrow(/not a public address|https URL|a user or a password/);
  });

  test("what the operator allows is let in, and in the clear too; nothing beside it is", () => {
    const guard = createAddressGuard("127.0.0.1, 10.1.0.0/16,fd00::/8");
    for (const url of [
      "http://127.0.0.1:8080/",
      "https://10.1.2.3/",
      "http://[fd00::1]/",
      "http://[::ffff:127.0.0.1]/",
    ])
      guard.assertUrl(new URL(url));
    for (const url of ["http://127.0.0.2/", "https://10.2.0.1/", "http://localhost/", "https://[fe80::1]/"])
      expect(() => guard.assertUrl(new URL(url)), url).toThrow(/not a public address|https URL/);
    expect(() => createAddressGuard("10.0.0.0/99")).toThrow("not an address");
    expect(() => createAddressGuard("intranet")).toThrow("not an address");
  });

  test("a name with one private address among public ones is refused whole; what is answered is what was checked", async () => {
    const names: Record<string, { address: string; family: number }[]> = {
      "good.example": [{ address: "93.184.215.14", family: 4 }],
      "mixed.example": [
        { address: "93.184.215.14", family: 4 },
        { address: "10.0.0.7", family: 4 },
      ],
      "rebound.example": [{ address: "::ffff:127.0.0.1", family: 6 }],
    };
    const guard = createAddressGuard("", async (host) => names[host] ?? []);
    const ask = (host: string) =>
      new Promise((resolve, reject) =>
        guard.lookup(host, { all: true }, (error, found) => (error === null ? resolve(found) : reject(error))),
      );
    expect(await ask("good.example")).toEqual(names["good.example"]);
    await expect(ask("mixed.example")).rejects.toThrow("10.0.0.7 is not a public address");
    await expect(ask("rebound.example")).rejects.toThrow("not a public address");
    await expect(ask("nothing.example")).rejects.toMatchObject({ code: "ENOTFOUND" });
  });
});

describe("attempts", () => {
  const queuedAt = new Date("2026-11-25T00:00:00Z");

  test("are spread, grow to an hour, heed the receiver up to an hour, and end after a day", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), (attempts, random) => {
        const next = nextAttempt({ attempts, queuedAt, now: queuedAt, random });
        const delay = Number(next) - queuedAt.getTime();
        const plain = Math.min(5_000 * 3 ** (attempts - 1), 3_600_000);
        return delay >= plain * 0.5 - 1 && delay <= plain * 1.5 + 1;
      }),
    );
    const at = (retryAfterMs: number) =>
      Number(nextAttempt({ attempts: 1, queuedAt, now: queuedAt, random: 0.5, retryAfterMs })) - queuedAt.getTime();
    expect([at(0), at(60_000), at(86_400_000)]).toEqual([5_000, 60_000, 3_600_000]);
    const dayAfter = new Date(queuedAt.getTime() + 86_400_000);
    expect(nextAttempt({ attempts: 30, queuedAt, now: dayAfter, random: 0 })).toBeUndefined();
  });

  test("go on for most of a day however the dice fall", () => {
    for (const random of [0, 1]) {
      let now = queuedAt;
      let attempts = 1;
      for (;;) {
        const next = nextAttempt({ attempts, queuedAt, now, random });
        if (next === undefined) break;
        now = next;
        attempts += 1;
      }
      expect(attempts).toBeGreaterThan(18);
      expect(attempts).toBeLessThan(60);
      expect(now.getTime() - queuedAt.getTime()).toBeGreaterThan(22 * 3_600_000);
    }
  });
});

describe("what is written", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary", maxLength: 80 }),
    fc.constantFrom(
      "&".repeat(5_000),
      "\r\nBcc: eve@example.com",
      "<!channel>",
      "</td><script>",
      "a\u2028b",
      "\u202Egnp.exe",
      "&lt;",
    ),
  );
  const facts = (tool: string, requestedBy: string, rendered: string): NoticeFacts => ({
    approval: "apr_01M89N1BZC51RAP98MPQ1Y71KV" as never,
    event: "opened",
    team: "shop",
    state: "pending",
    openedAt: queued,
    expiresAt: queued,
    decidedAt: null,
    summary: {
      agent: "support",
      run: "run_01M89N1BZC51RAP98MPQ1Y71KV" as never,
      seq: 3,
      tool,
      requestedBy,
      action: "a".repeat(64) as never,
      needs: [{ group: "treasury", quorum: 1, policy: tool }],
      concerns: [requestedBy],
      decidedBy: [],
      saidBy: null,
    },
    rendered,
  });
  const queued = "2026-11-25T00:00:00.000Z";
  const link = "https://ask.example.com/approvals/x";

  test("says what is true: who must agree, what an end came to, what an unknown outcome wants", () => {
    const base = facts("refund", "ann", "amount: 1");
    const needs = [{ group: "legal", orGroups: ["compliance"], signed: "passkey", quorum: 1, policy: "p" } as const];
    const opened = textOf({ ...base, summary: { ...base.summary!, needs } }, link);
    expect(opened.lines).toContainEqual(["needs", "1 of legal or compliance, signed with a passkey (policy p)"]);
    const title = (of: Partial<NoticeFacts>) => textOf({ ...base, ...of }, link).title;
    expect([
      title({ event: "expired", state: "expired" }),
      title({ event: "expired", state: "expired", decidedAt: queued }),
      title({ event: "cancelled", state: "cancelled", decidedAt: queued }),
      title({ event: "decided", state: "denied", decidedAt: queued }),
    ]).toEqual([
      "Approval request expired: nobody decided in time (shop/support: refund)",
      "Approval expired: it was approved in time, and not used (shop/support: refund)",
      "Approval cancelled: it was approved, and not used (shop/support: refund)",
      "Approval request denied (shop/support: refund)",
    ]);
    const unknown = textOf({ ...base, event: "outcome_unknown", state: "open" }, link);
    const command = `countersign approvals resolve ${base.summary!.run} 3`;
    expect(mailOf(unknown).text).toContain(`${command}: ${link}`);
    expect(JSON.stringify(slackMessage(unknown))).toContain(command);
    const asked = textOf({ ...base, event: "asked", said: "Why?" }, link);
    expect(asked.rendered).toBe("question: Why?\n\namount: 1");
  });

  test("no name or argument becomes a header, markup or a mention, whatever is in it", () => {
    fc.assert(
      fc.property(hostile, hostile, hostile, (tool, requestedBy, rendered) => {
        const text = textOf(facts(tool, requestedBy, rendered), link);
        const { subject, html } = mailOf(text);
        expect(subject).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        const tags = html.match(/<[^>]*>/g) ?? [];
        const ours = /^<\/?(p|strong|table|tr|th|td|pre|a)( align="left"| href="[^"<>]*")?>$/;
        for (const tag of tags) expect(tag).toMatch(ours);
        const message = slackMessage(text);
        const { blocks } = message as unknown as { blocks: { type: string; text?: { type: string; text: string } }[] };
        const texts = blocks.flatMap(({ text: one }) => (one === undefined ? [] : [one]));
        const markup = texts.filter(({ type }) => type === "mrkdwn").map((one) => one.text);
        expect(markup).toEqual([`<${escapeSlack(link)}|Read it, and decide there>`]);
        for (const one of texts.filter(({ type }) => type !== "mrkdwn")) expect(one.text).not.toMatch(/[<>]/);
        expect(message["text"]).not.toMatch(/[<>\n]/);
        // Slack refuses longer ones.
        for (const block of blocks)
          expect(block.text?.text.length ?? 0).toBeLessThanOrEqual(block.type === "header" ? 150 : 3_000);
      }),
    );
  });
});

test.each([
  [{ COUNTERSIGN_SMTP_URL: "http://mail" }, "COUNTERSIGN_SMTP_URL"],
  [{ COUNTERSIGN_SMTP_URL: "smtp://mail", COUNTERSIGN_SMTP_FROM: "a@b\r\nBcc: c@d" }, "COUNTERSIGN_SMTP_FROM"],
  [{ COUNTERSIGN_NOTIFY_TIMEOUT_MS: "0" }, "COUNTERSIGN_NOTIFY_TIMEOUT_MS"],
  [{ COUNTERSIGN_NOTIFY_ALLOW: "localhost" }, "localhost"],
])("the setting %j is refused by name", (env, name) => {
  expect(() => notifyOptionsOf(env as Record<string, string>)).toThrow(name);
});
