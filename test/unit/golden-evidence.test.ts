import { spawnSync } from "node:child_process";
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

/** In Python, from the format's document alone: see `test/independent`. */
const python = (...args: string[]) => spawnSync("python3", args, { encoding: "utf8" });
const hasPython = python("--version").status === 0;

test.runIf(hasPython).each(names)("a second verifier finds the same of %s", (name) => {
  const at = (file: string): string => join(vectors, name, file);
  const pins = existsSync(at("pinned.checkpoint")) ? [at("pinned.checkpoint")] : [];
  const bundle = ["test/independent/verify_bundle.py", at("bundle"), at("trust.json")];
  const { status, stdout } = python(...bundle, ...pins);
  expect({ status, said: JSON.parse(stdout) }).toMatchObject({ status: 0, said: { verdict: "verified", open: [] } });
});

test.runIf(hasPython)("it finds the passkeys' signatures that hold, and no others", () => {
  const { status, stdout, stderr } = python("test/independent/passkeys.py", "test/vectors/webauthn/recorded.json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    genuine: ["alice"],
    byDora: ["dora"],
    byRob: [],
    byBob: ["bob"],
    unverified: [],
    otherOrigin: [],
    framed: [],
    bySite: ["carol"],
  });
});
