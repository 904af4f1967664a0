import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { renderAction, requestById } from "../../src/approvals/index.ts";
import { buildProgram } from "../../src/cli/program.ts";
import type { RunId } from "../../src/core/ids.ts";
import { hashToken, putPrincipal } from "../../src/registry/index.ts";
import type { Principal } from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import { getPayload, putPayloads, sealingOf, stepsOf } from "../../src/store/index.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";

/** The commands as rita would use them, against a real server. */
async function commands(world: World) {
  const rita = await world.reviewer("rita");
  const people = {
    rita: { roles: ["reviewer"], groups: ["treasury"] },
    operator: { roles: ["operator"], groups: [] },
    zoe: { roles: ["auditor"], groups: [] },
    tess: { roles: ["reviewer"], groups: [], roleTeams: { reviewer: ["testers"] } },
    otto: { roles: ["reviewer", "auditor"], groups: [], roleTeams: { reviewer: ["others"], auditor: ["testers"] } },
  } satisfies Record<string, Omit<Principal, "id" | "displayName">>;
  for (const [id, rest] of Object.entries(people))
    await putPrincipal(world.pool, { id, displayName: id, ...rest }, hashToken(`${id}-token-of-the-test`));
  const server = createServer({
    pool: world.pool,
    databaseUrl: world.databaseUrl,
    keys: world.keys,
    temporal: world.client,
    taskQueue: world.taskQueue,
    ledger: { originOf: (log) => log, signerOf: () => ({ verifierKey: "", sign: () => new Uint8Array() }) },
    logger: pino({ level: "silent" }),
  });
  const http = await server.http();
  const url = await http.listen({ port: 0, host: "127.0.0.1" });
  const keyFile = join(world.folder, "rita.pem");
  await writeFile(keyFile, rita.privateKey);
  onTestFinished(async () => {
    vi.restoreAllMocks();
    process.exitCode = 0;
    await server.stop();
  });
  return async (who: keyof typeof people, ...argv: readonly string[]) => {
    const written: string[] = [];
    vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
    vi.spyOn(process.stderr, "write").mockImplementation(() => true);
    vi.stubEnv("COUNTERSIGN_KEY_FILE", keyFile);
    const program = buildProgram();
    try {
      await program.parseAsync(["node", "countersign", "--url", url, "--token", `${who}-token-of-the-test`, ...argv]);
    } finally {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
    }
    return written.join("");
  };
}

const turns = [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] }, { text: "done" }];
/** What somebody's inbox says of the newest request's call. */
const listedBy = async (run: Awaited<ReturnType<typeof commands>>, who: Parameters<typeof run>[0]) => {
  const page = JSON.parse(await run(who, "--json", "approvals", "list")) as { approvals: { call: string | null }[] };
  return page.approvals[0]?.call;
};
const payState = async (world: World, run: RunId) =>
  (await stepsOf(world.pool, run)).find(({ name }) => name === "pay")?.state;

test("many are decided at once, each on its own: what is not decided says so, and the others are", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const run = await commands(world);
  const runs = [await world.start(), await world.start(), await world.start()] as const;
  const [first, second, third] = [
    await world.request(runs[0]),
    await world.request(runs[1]),
    await world.request(runs[2]),
  ];
  await expect(run("rita", "approvals", "approve")).rejects.toMatchObject({ code: "usage" });
  // Nobody is there to say yes.
  await expect(run("rita", "approvals", "approve", first.id, second.id)).rejects.toMatchObject({
    code: "not_confirmed",
  });
  await run("rita", "approvals", "deny", third.id, "--reason", "no", "--yes");
  const text = await run("rita", "--json", "approvals", "approve", first.id, third.id, "--like", second.id, "--yes");
  expect(process.exitCode).toBe(1);
  const { outcomes } = JSON.parse(text) as { outcomes: { id: string; decided: boolean }[] };
  expect(Object.fromEntries(outcomes.map(({ id, decided }) => [id, decided]))).toEqual({
    [first.id]: true,
    [second.id]: true,
    [third.id]: false,
  });
  for (const one of runs) expect(await world.closed(one)).toMatchObject({ status: "completed" });
  expect(await Promise.all(runs.map((one) => payState(world, one)))).toEqual(["done", "done", "denied"]);
  const { rows } = await world.pool.query(
    "select count(distinct signature) as signatures from approval_decision where request = any($1)",
    [[first.id, second.id, third.id]],
  );
  expect(rows).toEqual([{ signatures: 3 }]);
}, 60_000);

test("a request that shows another call than it is about is not signed by the command, and what is signed on it lets nothing happen", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const run = await commands(world);
  const id = await world.start();
  const request = await world.request(id);
  // Somebody with the database has reviewers read of a small payment, and the large one waits on.
  const { pool, keys } = world;
  const small = world.actionOf(request, { to: "ada", amount_cents: 1 });
  const [rendered] = await putPayloads(pool, await sealingOf(pool, keys, id), [renderAction(small)]);
  await pool.query("alter table approval_request disable trigger user");
  await pool.query("update approval_request set rendered = $2 where id = $1", [request.id, rendered]);
  await pool.query("alter table approval_request enable trigger user");
  expect(await listedBy(run, "rita")).toBe('amount_cents: 6000 (60.00), to: "ada"');
  for (const decision of ["approve", "deny"])
    await expect(run("rita", "approvals", decision, request.id, "--yes")).rejects.toMatchObject({
      code: "shown_differently",
    });
  const rick = await world.reviewer("rick");
  const tampered = (await requestById(pool, request.id))!;
  expect(await rick.decide(tampered, "approve")).toMatchObject({ state: "approved" });
  await world.wake(id, request);
  expect(await world.closed(id)).toMatchObject({ status: "completed" });
  const step = (await stepsOf(pool, id)).find(({ name }) => name === "pay");
  expect(step?.state).toBe("denied");
  expect(await getPayload(pool, keys, step!.result!)).toMatchObject({
    code: "invalid_grant",
    message: "what its reviewers were shown is not this call",
  });
});

test("what policies make of a call is shown as it is, and signed", async () => {
  const world = await createWorld({
    turns,
    policy: `@id("all") permit (principal, action, resource);
@id("cap") @decision("cap") @argument("amount_cents") @max("250")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 250 };
@id("ask") @decision("require_approval") @group("treasury")
forbid (principal, action == Action::"tool/pay", resource);`,
  });
  await world.work();
  const run = await commands(world);
  const id = await world.start();
  const request = await world.request(id);
  const capped = 'amount_cents: 250 (2.50), to: "ada"';
  // Auditors' reads of contents are recorded, and a list is no such read: who audits this team, and reviews for another, is shown none.
  const shown = { rita: capped, tess: capped, otto: null, zoe: null } as const;
  for (const [who, call] of Object.entries(shown) as ["rita", string | null][])
    expect([who, await listedBy(run, who)]).toEqual([who, call]);
  await run("rita", "approvals", "approve", request.id, "--yes");
  expect(await world.closed(id)).toMatchObject({ status: "completed" });
  expect(await payState(world, id)).toBe("done");
});

test("a reviewer asks back, is answered, sees both, and then changes the call", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const run = await commands(world);
  const id = await world.start();
  const request = await world.request(id);
  await expect(run("operator", "approvals", "answer", request.id, "yes")).rejects.toMatchObject({ code: "not_asked" });
  await expect(run("operator", "approvals", "ask", request.id, "why?")).rejects.toMatchObject({ code: "forbidden" });
  await run("rita", "approvals", "ask", request.id, "is \u202ethis owed?");
  const inbox = await run("rita", "approvals", "list");
  expect(inbox).toContain("pending, asked");
  expect(inbox).toMatch(/pay +amount_cents: 6000 \(60\.00\)/);
  await expect(run("zoe", "approvals", "answer", request.id, "yes")).rejects.toMatchObject({ code: "not_eligible" });
  await run("operator", "approvals", "answer", request.id, "half of it");
  const shown = await run("rita", "approvals", "show", request.id);
  expect(shown).toContain("│ is \\u{202e}this owed?");
  expect(shown).toContain("operator answered");
  expect(shown).toContain("amount_cents: 6000 (60.00)");
  expect(shown).toContain("the model made it");
  await expect(
    run("rita", "approvals", "edit", request.id, "--set", "amount_cents=lots", "--yes"),
  ).rejects.toMatchObject({ code: "arguments_invalid" });
  await expect(run("rita", "approvals", "edit", request.id, "--yes")).rejects.toMatchObject({ code: "usage" });
  await run("rita", "approvals", "edit", request.id, "--set", "amount_cents=5500", "--reason", "most", "--yes");
  const changed = await world.request(id);
  expect(await listedBy(run, "rita")).toBe('amount_cents: 5500 (55.00), to: "ada"');
  await run("rita", "approvals", "edit", changed.id, "--set", "amount_cents=3000", "--reason", "half", "--yes");
  expect(await world.closed(id)).toMatchObject({ status: "completed" });
  expect(await payState(world, id)).toBe("done");
  expect(await run("rita", "approvals", "show", request.id)).toContain("ended by rita, who changed the call");
  await expect(run("rita", "approvals", "ask", request.id, "and now?")).rejects.toMatchObject({
    code: "approval_closed",
  });
}, 60_000);

test("an interrupted call is in the inbox, and is resolved from the command line", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "shout", arguments: { text: "hey", break: true } as never }] }, { text: "done" }],
  });
  await world.work();
  const run = await commands(world);
  const id = await world.start();
  await world.unknown(id);
  expect(await run("rita", "approvals", "list")).toContain(id);
  await expect(run("rita", "approvals", "resolve", id, "1", "--reason", "x", "--yes")).rejects.toMatchObject({
    code: "usage",
  });
  await expect(
    run("rita", "approvals", "resolve", id, "0", "--happened", "--reason", "x", "--yes"),
  ).rejects.toMatchObject({ code: "outcome_not_found" });
  expect(await run("rita", "approvals", "resolve", id, "1", "--happened", "--reason", "heard it", "--yes")).toContain(
    "it took effect",
  );
  expect(await world.closed(id)).toMatchObject({ status: "completed" });
}, 60_000);
