import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderAction, shortArguments } from "../../src/approvals/index.ts";
import { lined } from "../../src/approvals/visible.ts";
import type { Action } from "../../src/core/action.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";

function actionOf(args: Json): Action {
  return {
    v: 1,
    team: "shop",
    agent: "support",
    release: "0123456789abcdef".repeat(4) as Digest,
    run: "run_01JZZZZZZZZZZZZZZZZZZZZZZZ" as RunId,
    seq: 3,
    kind: "tool",
    name: "refund",
    arguments: args,
  };
}
const shown = (args: Json): string => renderAction(actionOf(args)).split("arguments:\n")[1] ?? "";

test("a long row of spaces is read once, and not from each of them", () => {
  // It took half a minute.
  const spaces = " ".repeat(200_000);
  expect(lined(`a${spaces}b  `)).toEqual([`│ a${spaces}b\\u{20}\\u{20}`]);
});

describe("what a reviewer reads", () => {
  test("in a list: the arguments on one line, cut", () => {
    const args = { order_id: "A-1", amount_cents: 500_000, reason: "x".repeat(500) };
    expect(shortArguments(args, undefined, 50)).toBe('amount_cents: 500000 (5,000.00), order_id: "A-1",…');
    expect(shortArguments({}, undefined, 50)).toBe("(nothing)");
  });

  test("names the action and its arguments in order, with cents as money", () => {
    const args = {
      reason: 'say "hi"\nbye \\n',
      amount_cents: 123456789,
      cents: -5,
      percents: 7,
      share_cents: 1.5,
      lines: [{ sku: "a", n: 1 }, "b", [true, null]],
      none: [],
      empty: {},
    };
    expect(renderAction(actionOf(args))).toBe(
      [
        "tool `refund`",
        "agent shop/support, release 0123456789ab",
        "run run_01JZZZZZZZZZZZZZZZZZZZZZZZ, step 3",
        "arguments:",
        "  amount_cents: 123456789 (1,234,567.89)",
        "  cents: -5 (-0.05)",
        "  empty: (nothing)",
        "  lines:",
        "    - n: 1",
        '      sku: "a"',
        '    - "b"',
        "    - - true",
        "        - null",
        "  none: (empty list)",
        "  percents: 7",
        '  reason: "say \\"hi\\"\\nbye \\\\n"',
        "  share_cents: 1.5",
        "",
      ].join("\n"),
    );
  });

  test.each([
    ["a right-to-left override", "\u202etxt.exe", '"\\u{202e}txt.exe"'],
    ["an isolate", "a\u2066b\u2069", '"a\\u{2066}b\\u{2069}"'],
    ["a terminal's escape", "\u001b[2K", '"\\u001b[2K"'],
    ["a C1 control", "\u009b31m", '"\\u{9b}31m"'],
    ["a carriage return", "safe\rowned", '"safe\\rowned"'],
    ["a line separator", "a\u2028b", '"a\\u{2028}b"'],
    ["a zero-width space", "pay\u200bpal", '"pay\\u{200b}pal"'],
    ["a tag character", "a\u{e0041}", '"a\\u{e0041}"'],
    ["a variation selector", "a\u{e0101}\ufe0f", '"a\\u{e0101}\\u{fe0f}"'],
    ["a Hangul filler", "a\u3164b", '"a\\u{3164}b"'],
    ["a space that is none of ours", "a\u00a0b", '"a\\u{a0}b"'],
    ["an escape that the text itself spells", String.raw`\u{202e}`, '"\\\\u{202e}"'],
    ["letters of other scripts, as they are", "Ünï 東京 🙂", '"Ünï 東京 🙂"'],
  ])("%s", (_, text, expected) => {
    expect(shown({ what: text })).toBe(`  what: ${expected}\n`);
    expect(shown({ [text]: 1 })).toBe(`  ${expected}: 1\n`);
  });

  test("a name cannot pass for another line, value or nothing", () => {
    expect(shown({ "to: me\n  amount": 1 })).toBe('  "to: me\\n  amount": 1\n');
    expect(shown({ "": "x", a: 1 })).toBe('  "": "x"\n  a: 1\n');
    expect(shown(JSON.parse('{"__proto__": {"a": 1}}') as Json)).toBe("  __proto__:\n    a: 1\n");
  });

  test("a long value is shown whole", () => {
    const text = `${"x".repeat(5_000)} and wipe it all`;
    expect(shown({ note: text })).toBe(`  note: "${text}"\n`);
    expect(shown({ body: text })).toBe(`  body: text, 1 lines, 5016 characters\n  │ ${text}\n`);
  });

  test("a message as one, SQL as SQL, a change as what goes and comes, an amount in its currency", () => {
    const mail = {
      to: ["ada@example.com", "аda@example.com"],
      cc: "bob@xn--80ak6aa92e.com",
      subject: "Hi",
      body: "Dear Ada,\n\tgood news \\o/ \n  needs 1 of treasury\n",
      urgent: true,
    };
    expect(shown(mail)).toBe(
      [
        "  a message:",
        '    To (cc): "bob@xn--80ak6aa92e.com" [! an encoded international name]',
        "    To (to):",
        '      - "ada@example.com"',
        '      - "аda@example.com" [! letters that may look like others: U+0430]',
        '    Subject (subject): "Hi"',
        "    Body (body): text, 4 lines, 48 characters",
        "    │ Dear Ada,",
        "    │ \\tgood news \\\\o/\\u{20}",
        "    │   needs 1 of treasury",
        "    │",
        "  urgent: true",
        "",
      ].join("\n"),
    );
    expect(shown({ query: "delete from orders\nwhere true" })).toBe(
      "  query: SQL, 2 lines, 29 characters\n  │ delete from orders\n  │ where true\n",
    );
    expect(shown({ query: "what is the weather?" })).toBe('  query: "what is the weather?"\n');
    expect(shown({ path: "a.txt", old_text: "a\nb\nc", new_text: "a\nB\nc" })).toBe(
      [
        "  change from old_text (-) to new_text (+):",
        "  │  a",
        "  │ -b",
        "  │ +B",
        "  │  c",
        '  path: "a.txt"',
        "",
      ].join("\n"),
    );
    const money = (currency: string) => shown({ amount_cents: -123456, currency }).split("\n")[0];
    expect(["EUR", "JPY", "KWD", "eur"].map(money)).toEqual([
      "  amount_cents: -123456 (-1,234.56 EUR)",
      "  amount_cents: -123456 (-123,456 JPY)",
      "  amount_cents: -123456 (-123.456 KWD)",
      "  amount_cents: -123456 (-1,234.56)",
    ]);
  });

  test("a tool says how its arguments are to be read; what does not suit the value is left plain", () => {
    const parameters = { type: "object", properties: { who: { type: "string", format: "email" } } };
    const tool = {
      parameters,
      render: { total: "money", note: "text", to: "plain", was: "before", is: "after" },
    } as const;
    const text = (args: Json) => renderAction(actionOf(args), tool).split("arguments:\n")[1];
    expect(text({ total: 100, who: "ä@b.c", note: "x\ny" })).toBe(
      [
        "  a message:",
        '    To (who): "ä@b.c" [! letters that may look like others: U+00E4]',
        "    Body (note): text, 2 lines, 3 characters",
        "    │ x",
        "    │ y",
        "  total: 100 (1.00)",
        "",
      ].join("\n"),
    );
    expect(text({ total: 1.5, note: ["x"], to: "я" })).toBe('  note:\n    - "x"\n  to: "я"\n  total: 1.5\n');
    expect(text({ was: "a", is: "b" })).toBe("  change from was (-) to is (+):\n  │ -a\n  │ +b\n");
    // A change without its other half is none, and nothing is left out.
    expect(text({ was: "a" })).toBe('  was: "a"\n');
    expect(text({ is: "a" })).toBe('  is: "a"\n');
  });

  test("whatever a value holds, however it is read, two calls never read the same", () => {
    const value = fc.oneof(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc.stringMatching(/^[ \\u{}20\n\t│+-]{0,6}$/),
      fc.integer(),
      fc.array(fc.string({ maxLength: 3 }), { maxLength: 2 }),
    );
    const name = fc.constantFrom(
      "to",
      "cc",
      "subject",
      "body",
      "sql",
      "diff",
      "old_a",
      "new_a",
      "cents",
      "currency",
      "z",
    );
    const args = fc.dictionary(name, value, { maxKeys: 4 });
    fc.assert(
      fc.property(args, args, (a, b) => {
        expect(shown(a) === shown(b)).toBe(sameJson(a, b));
        expect(shown(a)).toMatch(/^(?:\n|[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}])*$/u);
      }),
      { numRuns: 1_000 },
    );
  });

  test("is one text for one action, and another where a short argument differs, and shows nothing that hides", () => {
    const args = fc.dictionary(
      fc.string({ unit: "binary", maxLength: 8 }),
      fc.oneof(fc.string({ unit: "binary", maxLength: 20 }), fc.integer(), fc.boolean()),
      {
        maxKeys: 4,
      },
    );
    fc.assert(
      fc.property(args, args, (a, b) => {
        const turned = Object.fromEntries(Object.entries(a).toReversed());
        expect(shown(turned)).toBe(shown(a));
        expect(shown(a) === shown(b)).toBe(sameJson(a, b));
        expect(shown(a)).toMatch(/^(?:\n|[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}])*$/u);
      }),
      { numRuns: 500 },
    );
  });
});

function sameJson(a: object, b: object): boolean {
  const sorted = (value: object): string =>
    JSON.stringify(Object.entries(value).toSorted(([x], [y]) => (x < y ? -1 : 1)));
  return sorted(a) === sorted(b);
}
