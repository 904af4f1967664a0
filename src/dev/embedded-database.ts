import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Home } from "./home.ts";
import { isAlive } from "./process-table.ts";

/**
 * The URL of the database that `countersign dev` runs on `home`, as its owner; undefined where none runs, or this user may not read what it
 * takes. Touches nothing. What Postgres keeps in `postmaster.pid`: its pid in the first line, its port in the fourth.
 */
export function embeddedDatabase(home: Home): string | undefined {
  const running = textOf(join(home.postgres, "postmaster.pid"))?.split("\n");
  const password = textOf(join(home.secrets, "postgres-countersign"))?.trim();
  const [pid, port] = [Number(running?.[0]), Number(running?.[3])];
  if (password === undefined || !Number.isSafeInteger(pid) || !Number.isSafeInteger(port) || !isAlive(pid))
    return undefined;
  return `postgres://countersign:${password}@127.0.0.1:${port}/countersign`;
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
