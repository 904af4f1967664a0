import { pino } from "pino";
import { onTestFinished } from "vitest";

import { createClient } from "../../src/api/index.ts";
import type { Role } from "../../src/api/index.ts";
import { signDecision } from "../../src/cli/sign-decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { RunInput } from "../../src/core/run.ts";
import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import type { ServerOptions } from "../../src/server/index.ts";
import { executionsOf } from "../../src/store/index.ts";
import { createWorld, until } from "./world.ts";

const originOf = (log: string): string => `localhost/ledger/${log}`;
export const signerOf = (log: string) => createSigner(originOf(log), Buffer.alloc(32, 3));

export type ErasureWorld = Awaited<ReturnType<typeof createErasureWorld>>;

/** A team with an agent that looks and pays, a server with its ledger, and a client for each role. */
export async function createErasureWorld(changed: Partial<ServerOptions> = {}) {
  const turns = [
    { calls: [{ tool: "look", arguments: { thing: "box" } }] },
    { calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] },
    { text: "done" },
  ];
  const world = await createWorld({ turns });
  const { pool } = world;
  const tokens = { operator: newToken(), reviewer: newToken(), auditor: newToken(), admin: newToken() };
  for (const role of ["operator", "reviewer", "auditor", "admin"] as const)
    await putPrincipal(pool, { id: role, displayName: role, roles: [role], groups: [] }, hashToken(tokens[role]));
  const sequencer = createSequencer({
    pool,
    signers: (log) => [signerOf(log)],
    originOf,
    onError: (error) => {
      throw error;
    },
  });
  const server = createServer({
    pool,
    databaseUrl: world.databaseUrl,
    keys: world.keys,
    temporal: world.client,
    taskQueue: world.taskQueue,
    ledger: { originOf, signerOf, flush: (log) => sequencer.flush(log) },
    logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
    ...changed,
  });
  const { url } = await server.start(0);
  onTestFinished(() => server.stop());
  const as = (role: Role) => createClient({ baseUrl: url, token: tokens[role], timeoutMs: 20_000 });
  const { privateKey } = await world.reviewer("grace");
  const graces = newToken();
  await putPrincipal(
    pool,
    { id: "grace", displayName: "grace", roles: ["reviewer"], groups: ["treasury"] },
    hashToken(graces),
  );
  const grace = createClient({ baseUrl: url, token: graces, timeoutMs: 20_000 });

  return {
    ...world,
    url,
    tokens,
    as,
    flush: (log: string) => sequencer.flush(log),
    /** A run that paid, of which everything is archived. */
    async done(input: Partial<RunInput>): Promise<RunId> {
      const run = await world.start(input);
      const request = await world.request(run);
      const detail = await grace.showApproval({ params: { approval: request.id } });
      await signDecision(grace, detail, "approve", "", privateKey);
      await world.closed(run);
      await until(async () => (await executionsOf(pool, run))[0]?.history ?? undefined);
      return run;
    },
    /** The team's entries of a kind. */
    async entries(kind: string, log = "testers") {
      await sequencer.flush(log);
      const { entries } = await as("auditor").entries({ params: { log } });
      return entries
        .map(({ index, leaf }) => ({ index, ...(JSON.parse(leaf) as { kind: string; facts: Record<string, Json> }) }))
        .filter((entry) => entry.kind === kind);
    },
  };
}
