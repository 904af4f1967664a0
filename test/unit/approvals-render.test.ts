import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderAction } from "../../src/approvals/index.ts";
import type { Action } from "../../src/core/action.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { sha256 } from "../../src/store/index.ts";

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

describe("what a reviewer reads", () => {
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
    expect(shown({ to: text })).toBe(`  to: ${expected}\n`);
    expect(shown({ [text]: 1 })).toBe(`  ${expected}: 1\n`);
  });

  test("a name cannot pass for another line, value or nothing", () => {
    expect(shown({ "to: me\n  amount": 1 })).toBe('  "to: me\\n  amount": 1\n');
    expect(shown({ "": "x", a: 1 })).toBe('  "": "x"\n  a: 1\n');
    expect(shown(JSON.parse('{"__proto__": {"a": 1}}') as Json)).toBe("  __proto__:\n    a: 1\n");
  });

  test("a long value is cut, and says how long it is and what it hashes to", () => {
    const text = "x".repeat(2_001);
    expect(shown({ body: text })).toBe(
      `  body: "${"x".repeat(2_000)}" … (cut; 2001 characters in all, SHA-256 ${sha256(text)})\n`,
    );
    expect(shown({ body: text.slice(1) })).not.toContain("cut");
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
