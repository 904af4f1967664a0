import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { notifyOptionsOf } from "../../src/notify/index.ts";
import { createPool } from "../../src/store/index.ts";
import { loopback, serverOn } from "./notice-world.ts";

type ProcessOptions = { readonly databaseUrl: string; readonly leaseMs: number };

/** A server in a process of its own, so that it can be killed between an attempt and its record. */
export function spawnNoticeServer(options: ProcessOptions): {
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<void>;
} {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    env: { ...process.env, NOTICE_SERVER_OPTIONS: JSON.stringify(options) },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return {
    kill: (signal) => void child.kill(signal),
    ended: new Promise((resolve) => child.once("exit", () => resolve())),
  };
}

const given = process.env["NOTICE_SERVER_OPTIONS"];
if (given !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const { databaseUrl, leaseMs } = JSON.parse(given) as ProcessOptions;
  const pool = createPool({ url: databaseUrl });
  await serverOn(pool, databaseUrl, { ...notifyOptionsOf(loopback), leaseMs }).start(0);
}
