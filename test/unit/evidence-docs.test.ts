import { readFileSync, writeFileSync } from "node:fs";

import { expect, test } from "vitest";

import { findingCodes } from "../../src/audit/offline/index.ts";
import { attacks } from "../support/attacks/index.ts";
import { oddities } from "../support/evidence-oddities.ts";

const path = "docs/evidence-tampering.md";
const coverage = {
  selected: "selection",
  whole: "whole log",
  withheld: "selection, no contents",
  several: "whole logs of two teams",
  chains: "whole log, no contents",
} as const;

/** The corpus as a table, and every code that a verifier may give. */
function page(): string {
  const tables = attacks.map(([title, table]) =>
    [
      `## ${title}`,
      "",
      "| attack | bundle | found as | verdict |",
      "|---|---|---|---|",
      ...table.map(({ attack, base, code, verdict = "refuted", pinned }) => {
        const against = pinned === undefined ? "" : `, ${pinned} checkpoint pinned`;
        return `| ${attack} | ${coverage[base]}${against} | \`${code}\` | ${verdict} |`;
      }),
      "",
    ].join("\n"),
  );
  const codes = Object.entries(findingCodes).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`);
  const count = attacks.reduce((sum, [, table]) => sum + table.length, 0);
  const kinds = new Set(attacks.flatMap(([, table]) => table.map(({ code }) => code as string))).size;
  const oddKinds = new Set(oddities.map(({ oddity }) => oddity)).size;
  return `# What tampering is found, and as what

\`test/e2e/evidence.test.ts\` makes these ${count} bundles from real runs, and expects each to be found by this name: ${kinds} codes. Beside them it makes
${oddities.length} unusual bundles that are in order, and expects each to be verified: ${oddKinds} ways of being unusual, some of them done to each of several exports. This page is written by \`UPDATE_DOCS=1 npx vitest run test/unit/evidence-docs.test.ts\`.

**Not found**: whoever holds the log's key, makes the whole log anew without contradictions, and has no witness and no pinned checkpoint
against them. The verifier then says that nothing was pinned and no witness was asked for. Ask for both. Nor an older whole log with its own
checkpoint, where no pin is newer and no age is asked for (\`maxAgeHours\`), an activation left out of a selection under which no run here was
decided, and an erasure that who holds the log's key entered without need: what it took is told as not proven.

${tables.join("\n")}
## Codes

| code | meaning |
|---|---|
${codes.join("\n")}
`;
}

test("the documented corpus is the tested one", () => {
  if (process.env["UPDATE_DOCS"] === "1") writeFileSync(path, page());
  expect(readFileSync(path, "utf8")).toBe(page());
});

test("every code that refutes has an attack that shows it", () => {
  const shown = new Set(attacks.flatMap(([, table]) => table.map(({ code }) => code as string)));
  const unshown = Object.keys(findingCodes).filter((code) => !shown.has(code));
  expect(unshown).toEqual([]);
});
