import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createHome, lockHome, resolveHome, secretOf } from "../../src/dev/index.ts";
import type { Home } from "../../src/dev/index.ts";

let home: Home;
beforeEach(() => {
  home = resolveHome({ COUNTERSIGN_HOME: join(mkdtempSync(join(tmpdir(), "countersign-unit-")), "home") });
});
afterEach(() => rmSync(join(home.root, ".."), { recursive: true, force: true }));

test("the home is COUNTERSIGN_HOME, else .countersign in the working directory", () => {
  expect(resolveHome({}, "/project").root).toBe("/project/.countersign");
  expect(resolveHome({ COUNTERSIGN_HOME: "" }, "/project").root).toBe("/project/.countersign");
  expect(resolveHome({ COUNTERSIGN_HOME: "data" }, "/project").root).toBe("/project/data");
  expect(resolveHome({ COUNTERSIGN_HOME: "/srv/countersign" }, "/project").logs).toBe("/srv/countersign/logs");
});

test("a home and its secrets are closed to others, and a secret stays the same", () => {
  createHome(home);
  const secret = secretOf(home, "token");
  expect(secretOf(home, "token")).toBe(secret);
  expect(secretOf(home, "other")).not.toBe(secret);
  expect(statSync(home.root).mode & 0o777).toBe(0o700);
  expect(statSync(join(home.secrets, "token")).mode & 0o777).toBe(0o600);
});

describe("the lock", () => {
  test("refuses a second owner until the first lets go", () => {
    const release = lockHome(home);
    expect(() => lockHome(home)).toThrow(expect.objectContaining({ code: "home_locked", exitCode: 2 }));
    expect(() => lockHome(home)).toThrow(new RegExp(`\\b${process.pid}\\b`));
    release();
    lockHome(home)();
  });

  test("of a dead process is taken over", async () => {
    const pid = await deadPid();
    createHome(home);
    writeFileSync(home.lock, JSON.stringify({ pid, start: "1", nonce: "a" }));
    const release = lockHome(home);
    expect(JSON.parse(readFileSync(home.lock, "utf8"))).toMatchObject({ pid: process.pid });
    release();
  });

  test("is taken over when its pid names another process by now", () => {
    createHome(home);
    writeFileSync(home.lock, JSON.stringify({ pid: process.pid, start: "1", nonce: "a" }));
    expect(() => lockHome(home)()).not.toThrow();
  });

  test("that is half a file is taken over", () => {
    createHome(home);
    writeFileSync(home.lock, '{"pid":');
    expect(() => lockHome(home)()).not.toThrow();
  });
});

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  return child.pid ?? 0;
}
