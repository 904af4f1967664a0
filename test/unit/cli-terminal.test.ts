import { expect, test } from "vitest";

import { ApiError } from "../../src/api/index.ts";
import { CliError, exitCodeOf, reportOf } from "../../src/cli/cli-error.ts";
import { brief, safe } from "../../src/cli/terminal.ts";

test.each([
  ["a colour", "\u001b[31mred", "\\u{1b}[31mred"],
  ["a title", "\u001b]0;owned\u0007", "\\u{1b}]0;owned\\u{7}"],
  ["a carriage return over what was shown", "deny\rallow", "deny\\u{d}allow"],
  ["text that turns round", "a\u202eb", "a\\u{202e}b"],
  ["an 8-bit control", "a\u009b31m", "a\\u{9b}31m"],
  ["lines and tabs stay", "a\n\tb", "a\n\tb"],
  ["other scripts stay", "żółć 日本 🙂", "żółć 日本 🙂"],
])("%s", (_what, text, shown) => {
  expect(safe(text)).toBe(shown);
});

test("brief text is one line of the length that is asked for", () => {
  expect(brief("a\n b", 10)).toBe("a b");
  expect(brief("x".repeat(50), 10)).toBe(`${"x".repeat(9)}…`);
});

test.each([
  [new ApiError("forbidden", "no"), 1],
  [new ApiError("run_not_found", "no"), 1],
  [new ApiError("approval_closed", "no"), 1],
  [new ApiError("policies_invalid", "no"), 1],
  [new ApiError("invalid_request", "no"), 2],
  [new ApiError("unauthenticated", "no"), 2],
  [new ApiError("temporal_unavailable", "no"), 2],
  [new ApiError("server_unreachable", "no"), 2],
  [new CliError("run_failed", "no"), 1],
  [new CliError("refuted", "no"), 1],
  [new CliError("usage", "no"), 2],
  [new CliError("environment", "no"), 2],
  [new TypeError("no"), 2],
])("%s ends in %i", (error, code) => {
  expect(exitCodeOf(error)).toBe(code);
});

test("an unexpected error is reported without its stack", () => {
  expect(reportOf(new TypeError("first\nsecond"))).toMatchObject({ code: "internal", message: "first" });
});
