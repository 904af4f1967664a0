import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { makeFolder } from "../store/make-folder.ts";
import { DevError } from "./errors.ts";
import { isAlive, startOf } from "./process-table.ts";

/** Everything that the embedded default keeps, in one directory. */
export type Home = {
  readonly root: string;
  /** Postgres' own data directory. */
  readonly postgres: string;
  /** The directory of the Temporal dev server's SQLite file. */
  readonly temporal: string;
  readonly logs: string;
  /** Passwords and keys, one a file, readable by their owner only. */
  readonly secrets: string;
  /** Pids of the servers that run on this home. */
  readonly run: string;
  readonly lock: string;
};

/** Where data lives: `COUNTERSIGN_HOME`, else `.countersign` in `cwd`. Touches nothing. */
export function resolveHome(env: NodeJS.ProcessEnv, cwd: string = process.cwd()): Home {
  const chosen = env["COUNTERSIGN_HOME"];
  const root = resolve(cwd, chosen === undefined || chosen === "" ? ".countersign" : chosen);
  return {
    root,
    postgres: join(root, "postgres"),
    temporal: join(root, "temporal"),
    logs: join(root, "logs"),
    secrets: join(root, "secrets"),
    run: join(root, "run"),
    lock: join(root, "lock"),
  };
}

/** Creates the directories of `home`. The root is 0700; Postgres under root widens it to 0711 (see `postgres-user.ts`). */
export function createHome(home: Home): void {
  try {
    makeFolder(home.root, 0o700);
    for (const directory of [home.temporal, home.logs, home.secrets, home.run]) {
      makeFolder(directory, 0o700);
      chmodSync(directory, 0o700);
    }
  } catch (cause) {
    throw new DevError("home_unusable", `data directory \`${home.root}\` cannot be written`, {
      cause,
      hint: "choose another one with COUNTERSIGN_HOME",
    });
  }
}

type LockHolder = { readonly pid: number; readonly start: string | undefined; readonly nonce: string };

/**
 * Takes `home` for this process and returns the release. Throws `home_locked` when another live process has it; the lock of
 * a dead one is taken over. The lock is made with link(2), which fails when the name exists and never shows half a file.
 */
export function lockHome(home: Home): () => void {
  createHome(home);
  const own: LockHolder = { pid: process.pid, start: startOf(process.pid), nonce: randomBytes(8).toString("hex") };
  const draft = `${home.lock}.${own.nonce}`;
  writeFileSync(draft, `${JSON.stringify(own)}\n`, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      if (linkIfAbsent(draft, home.lock)) return () => releaseLock(home, own);
      const holder = readLock(home.lock);
      if (holder !== undefined && holds(holder)) throw lockedBy(home, holder);
      setAside(home, holder);
    }
    throw new DevError("home_locked", `data directory \`${home.root}\` is being taken by other processes`);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** A secret of this home, made on first use: 32 random bytes in base64url, in a file only its owner may read. */
export function secretOf(home: Home, name: string): string {
  const file = join(home.secrets, name);
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  const secret = randomBytes(32).toString("base64url");
  writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: "wx" });
  return secret;
}

function lockedBy(home: Home, holder: LockHolder): DevError {
  return new DevError("home_locked", `data directory \`${home.root}\` is in use by process ${holder.pid}`, {
    hint: "stop that process, or start with another COUNTERSIGN_HOME and other ports",
  });
}

function holds(holder: LockHolder): boolean {
  return isAlive(holder.pid) && startOf(holder.pid) === holder.start;
}

/** Moves a stale lock out of the way; one that somebody took in the meantime is put back. */
function setAside(home: Home, stale: LockHolder | undefined): void {
  const aside = `${home.lock}.stale-${randomBytes(8).toString("hex")}`;
  try {
    renameSync(home.lock, aside);
  } catch {
    return;
  }
  if (readLock(aside)?.nonce !== stale?.nonce) linkIfAbsent(aside, home.lock);
  rmSync(aside, { force: true });
}

function releaseLock(home: Home, own: LockHolder): void {
  if (readLock(home.lock)?.nonce === own.nonce) rmSync(home.lock, { force: true });
}

function linkIfAbsent(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function readLock(file: string): LockHolder | undefined {
  try {
    const value = JSON.parse(readFileSync(file, "utf8")) as Partial<LockHolder>;
    if (typeof value.pid !== "number" || typeof value.nonce !== "string") return undefined;
    return { pid: value.pid, start: typeof value.start === "string" ? value.start : undefined, nonce: value.nonce };
  } catch {
    return undefined;
  }
}
