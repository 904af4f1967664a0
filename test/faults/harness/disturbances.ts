import { setTimeout as sleep } from "node:timers/promises";

import type { Outage } from "./facts.ts";
import { asAdmin } from "./lab.ts";
import type { Lab } from "./lab.ts";
import type { World } from "./world.ts";

/** What can happen around the processes, each for a bounded time, with what was away recorded. */
export const disturbances = {
  "kill-worker": async (_lab: Lab, world: World) => world.worker.signal("SIGKILL"),
  "kill-server": async (_lab: Lab, world: World) => world.server.signal("SIGKILL"),
  /** Given up on by Temporal, replaced, and then awake again: what it had begun comes late. */
  "stop-worker": async (_lab: Lab, world: World) => {
    world.worker.signal("SIGSTOP");
    world.addWorker();
    await sleep(10_000);
    world.worker.signal("SIGCONT");
  },
  /** Two sequencers, two that deliver, seal and keep the time. */
  "second-server": async (_lab: Lab, world: World) => void (await world.addServer()),
  "cut-postgres": async (lab: Lab, world: World) => {
    for (let time = 0; time < 4; time += 1) {
      // Postgres itself may be away.
      await lab.cutConnections(world.databaseUrl).catch(() => undefined);
      await sleep(400);
    }
  },
  "kill-postgres": async (lab: Lab) => lab.losePostgres(),
  "kill-temporal": async (lab: Lab) => lab.loseTemporal(),
  "lock-ledger": async (lab: Lab, world: World, outages: Outage[]) => locked(lab, world, "ledger_outbox", outages),
  "lock-policies": async (lab: Lab, world: World, outages: Outage[]) =>
    locked(lab, world, "policy_activation", outages),
  "witness-away": async (_lab: Lab, world: World) => {
    await world.witness.stop();
    await sleep(3_000);
    await world.witness.start();
  },
} as const satisfies Record<string, (lab: Lab, world: World, outages: Outage[]) => Promise<void>>;
export type DisturbanceName = keyof typeof disturbances;
export const disturbanceNames = Object.keys(disturbances) as readonly DisturbanceName[];

/** One of them, so many milliseconds after the first runs were asked for. */
export type Disturbance = { readonly name: DisturbanceName; readonly afterMs: number };

const lockedMs = 3_000;

/** Nothing can be written to (or read of) the table for a while, though Postgres answers. A lock that is lost with its connection was no outage. */
async function locked(lab: Lab, world: World, table: string, outages: Outage[]): Promise<void> {
  const url = new URL(lab.adminUrl);
  url.pathname = new URL(world.databaseUrl).pathname;
  await asAdmin(url.href, async (client) => {
    await client.query("begin");
    await client.query(`lock table countersign.${table} in access exclusive mode`);
    const from = Date.now();
    await sleep(lockedMs);
    const to = Date.now();
    await client.query("commit");
    outages.push({ what: `\`${table}\` could not be used`, from, to });
  }).catch(() => undefined);
}

export async function disturb(
  lab: Lab,
  world: World,
  wanted: readonly Disturbance[],
  outages: Outage[],
): Promise<void> {
  await Promise.all(
    wanted.map(async ({ name, afterMs }) => {
      await sleep(afterMs);
      await disturbances[name](lab, world, outages);
    }),
  );
}
