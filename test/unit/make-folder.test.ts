import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { makeFolder } from "../../src/store/make-folder.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-folder-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("folders are made down to the last, and those that are there stay", () => {
  makeFolder(join(folder, "a", "b", "c"), 0o700);
  makeFolder(join(folder, "a", "b", "c"), 0o700);
  expect(statSync(join(folder, "a", "b", "c")).mode & 0o777).toBe(0o700);
});

// Node's own `recursive` never comes back from the last of them.
test.skipIf(process.platform !== "linux")("what cannot be made fails at once", () => {
  writeFileSync(join(folder, "file"), "");
  expect(() => makeFolder(join(folder, "file"))).toThrow("EEXIST");
  expect(() => makeFolder(join(folder, "file", "x"))).toThrow("ENOTDIR");
  expect(() => makeFolder("/proc/countersign/x/y")).toThrow("ENOENT");
});
