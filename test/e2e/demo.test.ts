import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";
import type { TestContext } from "vitest";

import { countersign, documentOf } from "./program.ts";

type Demo = { readonly runs: readonly string[]; readonly reports: readonly { readonly verdict: string }[] };

/** A place for temporary files of the test's own, where what is left over shows. */
async function temporary({ onTestFinished }: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-e2e-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test.concurrent("the demo shows a call held back and one denied, ends with both verified, and leaves nothing", async (context) => {
  const folder = await temporary(context);
  const outcome = await countersign(["demo"], { TMPDIR: folder, COUNTERSIGN_HOME: join(folder, "untouched") });
  expect(outcome.code, outcome.stdout + outcome.stderr).toBe(0);
  const runs = [...new Set(outcome.stdout.match(/run_[0-9A-Z]{26}/g))];
  expect(runs).toHaveLength(2);
  for (const run of runs) {
    expect(outcome.stdout).toContain(`replay of ${run}: verified`);
    expect(outcome.stdout).toContain(`evidence of ${run}: verified`);
  }
  expect(outcome.stdout).toContain("Everything held.");
  expect(await readdir(folder)).toEqual([]);
});

test.concurrent("with --json it prints one document, and everything else to stderr", async (context) => {
  const folder = await temporary(context);
  const outcome = await countersign(["demo", "--json"], { TMPDIR: folder });
  expect(outcome.code, outcome.stderr).toBe(0);
  const { runs, reports } = documentOf<Demo>(outcome);
  expect(runs).toHaveLength(2);
  expect(reports.map(({ verdict }) => verdict)).toEqual(["verified", "verified", "verified", "verified"]);
});
