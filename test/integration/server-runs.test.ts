import { describe, expect, test } from "vitest";

import { createClient } from "../../src/api/index.ts";
import type { WatchEvent } from "../../src/api/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import { activatePolicySet, registerRelease, releaseOfDocument } from "../../src/registry/index.ts";
import { publishDelta } from "../../src/store/index.ts";
import { serveForFile, tokens } from "../support/served-api.ts";
import { document } from "../support/test-records.ts";

const { anotherServer, call, database, engine, register, start } = serveForFile();

describe("runs", () => {
  test("one that no policies cover is not started, and the refusal says what to do", async () => {
    const release = releaseOfDocument(document({ team: "bare" }));
    await registerRelease(database().pool, release, "operator", new Date());
    const run = { team: "bare", release: release.digest };
    expect(await start(run)).toMatchObject({
      status: 409,
      code: "no_policies",
      body: { error: { hint: expect.stringContaining("policy activate DIR --team bare") as string } },
    });
    const text =
      '@id("p") permit (principal, action == Action::"tool/look", resource) when { context.input has amount && context.input.amount == "much" };';
    const set = { v: 1, policies: [{ id: "p", text }] };
    await activatePolicySet(database().pool, "bare", set, "operator", new Date());
    expect(await start(run)).toMatchObject({ status: 422, code: "policies_do_not_fit" });
    const fitting = { v: 1, policies: [{ id: "p", text: text.replace('"much"', "7") }] };
    await activatePolicySet(database().pool, "bare", fitting, "operator", new Date());
    expect(await start(run)).toMatchObject({ status: 201 });
    const { rows } = await database().pool.query("select count(*)::int as runs from run where team = 'bare'");
    expect(rows).toEqual([{ runs: 1 }]);
  });

  test("a run is recorded with its input and started", async () => {
    await register();
    const answer = await start({ subject: { id: "cus_1" }, tags: { ticket: "7" } });
    expect(answer).toMatchObject({ status: 201, body: { run: { status: "pending", requestedBy: "operator" } } });
    const { id } = (answer.body as { run: { id: RunId } }).run;
    expect(engine.started).toContain(id);
    const shown = await call("GET", `/v1/runs/${id}`, { as: "auditor" });
    expect(shown.body).toMatchObject({
      input: { prompt: "hello", subject: { id: "cus_1" }, tags: { ticket: "7" } },
      steps: [],
      output: null,
    });
    expect(await call("GET", `/v1/runs/${id}/record`, { as: "auditor" })).toMatchObject({
      status: 200,
      body: { v: 1, histories: [] },
    });
  });

  test("the same key is the same run, also when both come at once; another request under it is refused", async () => {
    await register();
    const key = { "idempotency-key": "order-7" };
    const answers = await Promise.all([start({}, key), start({}, key), start({}, key)]);
    const ids = new Set(answers.map((answer) => (answer.body as { run: { id: RunId } }).run.id));
    expect(ids.size).toBe(1);
    expect(await start({ prompt: "something else" }, key)).toMatchObject({ status: 409, code: "idempotency_conflict" });
    const other = await call("POST", "/v1/runs", {
      as: "second",
      body: { team: "shop", agent: "support", prompt: "hello" },
      headers: key,
    });
    expect(ids.has((other.body as { run: { id: RunId } }).run.id)).toBe(false);
  });

  test("without Temporal the run stays pending, the error says so, and the same key starts it later", async () => {
    await register();
    const key = { "idempotency-key": "order-8" };
    engine.up = false;
    const refused = await start({}, key);
    expect(refused).toMatchObject({ status: 503, code: "temporal_unavailable" });
    expect(await call("GET", "/v1/health")).toMatchObject({
      status: 503,
      body: { temporal: "unreachable", postgres: "ok" },
    });
    engine.up = true;
    const id = /run_[0-9A-Z]{26}/.exec((refused.body as { error: { message: string } }).error.message)?.[0];
    const again = await start({}, key);
    expect(again).toMatchObject({ status: 201, body: { run: { id, status: "pending" } } });
    expect(engine.started).toContain(id);
    expect(await call("GET", "/v1/health")).toMatchObject({ status: 200, body: { status: "ok" } });
  });

  test("a run that never began can be cancelled, once", async () => {
    await register();
    const { id } = ((await start()).body as { run: { id: RunId } }).run;
    expect(await call("POST", `/v1/runs/${id}/cancel`, { as: "operator" })).toMatchObject({
      status: 202,
      body: { run: { status: "cancelled" } },
    });
    expect(await call("POST", `/v1/runs/${id}/cancel`, { as: "operator" })).toMatchObject({
      status: 409,
      code: "run_closed",
    });
  });

  test("pages follow one another without gap or repetition", async () => {
    await register({ agent: "paged" });
    const ids: RunId[] = [];
    for (let n = 0; n < 7; n += 1) ids.push(((await start({ agent: "paged" })).body as { run: { id: RunId } }).run.id);
    const seen: RunId[] = [];
    let cursor = "";
    for (let page = 0; page < 4; page += 1) {
      const { body } = await call("GET", `/v1/runs?agent=paged&limit=3${cursor}`, { as: "auditor" });
      const { runs, next } = body as { runs: { id: RunId }[]; next: string | null };
      seen.push(...runs.map((run) => run.id));
      if (next === null) break;
      cursor = `&cursor=${next}`;
    }
    expect(seen).toEqual(ids.toReversed());
  });
});

describe("watching", () => {
  test("a watcher gets what happens and the words as they come, until the run closes", async () => {
    await register({ agent: "watched" });
    const { id } = ((await start({ agent: "watched" })).body as { run: { id: RunId } }).run;
    const server = anotherServer();
    const { url } = await server.start(0);
    const operator = createClient({ baseUrl: url, token: tokens.operator });
    const seen: WatchEvent[] = [];
    // The connection that listens may be a moment behind the first look at the run.
    const speaking = setInterval(() => {
      publishDelta(database().pool, { run: id, seq: 0, text: "hel" }).catch(() => undefined);
    }, 50);
    for await (const event of operator.watch(id)) {
      seen.push(event);
      if (event.type !== "delta") continue;
      clearInterval(speaking);
      await operator.cancelRun({ params: { run: id } }).catch(() => undefined);
    }
    clearInterval(speaking);
    expect(seen[0]).toMatchObject({ type: "run", run: { status: "pending" } });
    expect(seen.find((event) => event.type === "delta")).toEqual({ type: "delta", seq: 0, text: "hel" });
    expect(seen.at(-1)).toMatchObject({ type: "closed", run: { status: "cancelled" }, output: null });
    const { rows } = await database().pool.query("select from run where id = $1 and watched_until is not null", [id]);
    expect(rows).toHaveLength(1);
    await server.stop();
  });

  test("a run that does not exist is refused before the stream begins; a server that stops ends its watches", async () => {
    const server = anotherServer();
    const { url } = await server.start(0);
    const operator = createClient({ baseUrl: url, token: tokens.operator });
    await expect(operator.watch("run_01ARZ3NDEKTSV4RRFFQ69G5FAV").next()).rejects.toMatchObject({
      code: "run_not_found",
    });
    const { id } = ((await start()).body as { run: { id: RunId } }).run;
    const events = operator.watch(id);
    await events.next();
    const rest = events.next().catch((error: unknown) => error);
    await server.stop();
    expect(await rest).toMatchObject({ done: true });
    await expect(operator.listAgents({})).rejects.toMatchObject({ code: "server_unreachable" });
  });

  test("a taken port is an error that says so", async () => {
    const first = anotherServer();
    const second = anotherServer();
    const { port } = await first.start(0);
    await expect(second.start(port)).rejects.toMatchObject({ code: "port_taken" });
    await Promise.all([first.stop(), second.stop()]);
  });
});
