import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { decideAgain } from "../../src/audit/decisions/redecide.ts";
import type { FlowFacts } from "../../src/core/labels.ts";
import type { RunRecord } from "../../src/core/run-record.ts";

const vectors = "test/vectors/records";

function recordIn(file: string): RunRecord {
  return JSON.parse(readFileSync(join(vectors, file), "utf8")) as RunRecord;
}

const files = readdirSync(vectors).filter((file) => file.endsWith(".json"));

test.each(files)("the decisions of %s are decided again by the rules of then", (file) => {
  const record = recordIn(file);
  expect(decideAgain(record)).toMatchObject({
    check: { problems: [], status: "passed" },
    again: record.decisions.length,
    asRecorded: 0,
  });
});

test.each(files)("and by no others: %s", (file) => {
  const record = recordIn(file);
  const decisions = record.decisions.map((decision) => {
    const flow: FlowFacts = { ...decision.facts.flow, rules: 4, worst: "none" };
    return { ...decision, facts: { ...decision.facts, flow } };
  });
  expect(decideAgain({ ...record, decisions }).check.problems).not.toEqual([]);
});
