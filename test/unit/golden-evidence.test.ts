import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { parseTrust, verifyEvidence } from "../../src/audit/offline/index.ts";
import type { OfflineReport } from "../../src/audit/offline/index.ts";

const vectors = "test/vectors/evidence";

/** What each was when it was exported: a check that a later verifier no longer makes of it would be missed here. */
const made: Readonly<Record<string, readonly string[]>> = {
  "v1-approved": ["pinned", "approvals", "enrolment", "contents", "decisions", "histories", "statements"],
  "v1-cosigned": ["witnesses", "contents", "decisions", "histories", "statements"],
};
const always = ["files", "checkpoints", "leaves", "runs", "policies", "records"];

function verify(name: string): OfflineReport {
  const pin = join(vectors, name, "pinned.checkpoint");
  return verifyEvidence({
    directory: join(vectors, name, "bundle"),
    trust: parseTrust(readFileSync(join(vectors, name, "trust.json"), "utf8")),
    pinned: existsSync(pin) ? [readFileSync(pin, "utf8")] : [],
  });
}

const names = readdirSync(vectors, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

test.each(names)("a bundle of before, %s, is verified by today's verifier, and as much of it", (name) => {
  const { verdict, checks } = verify(name);
  expect(checks.flatMap(({ findings }) => findings)).toEqual([]);
  expect(verdict).toBe("verified");
  const passed = checks.flatMap(({ name: check, status }) => (status === "passed" ? [check] : []));
  expect(passed).toEqual(expect.arrayContaining([...always, ...(made[name] ?? ["none is expected of it"])]));
});
