import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { expect, onTestFinished, test } from "vitest";

import type { RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import {
  dataKeyOf,
  getPayload,
  newRunKey,
  payloadKeysOf,
  putPayloads,
  vaultKeyProvider,
} from "../../src/store/index.ts";
import { connectTemporal, createPayloadCodec, fetchHistory } from "../../src/temporal/index.ts";
import { freshDatabase } from "../support/database.ts";
import { createErasureWorld } from "../support/erasure-world.ts";
import type { ErasureWorld } from "../support/erasure-world.ts";
import { testTemporal } from "../support/temporal.ts";
import { playVault, vaultToken } from "../support/vault.ts";
import { createWorld } from "../support/world.ts";

type JsonPayload = { readonly metadata: Record<string, string>; readonly data?: string };
const plain = (text: string | undefined) => Buffer.from(text ?? "", "base64").toString("utf8");

/** Every payload in a history, with where it stands. */
function payloadsIn(value: Json | undefined, at = ""): readonly (JsonPayload & { readonly at: string })[] {
  if (typeof value !== "object" || value === null) return [];
  if (!Array.isArray(value) && "metadata" in value) return [{ ...(value as unknown as JsonPayload), at }];
  return Object.entries(value).flatMap(([name, inner]) => payloadsIn(inner as Json, `${at}/${name}`));
}

/** As whoever holds Temporal sees it. */
async function rawPayloads({ pool }: Pick<ErasureWorld, "pool">, run: RunId) {
  const connection = await connectTemporal(testTemporal());
  onTestFinished(() => connection.close());
  const { client } = connection;
  const { rows } = await pool.query<{ id: string }>("select temporal_run_id as id from run where id = $1", [run]);
  const history = await client.workflow.getHandle(run, rows[0]?.id).fetchHistory();
  const json = JSON.parse(historyToJSON(history)) as Json;
  return { raw: JSON.stringify(json), payloads: payloadsIn(json), execution: rows[0]?.id ?? "" };
}

const subject = { subject: { id: "cus_ada" } };

test("Temporal holds ciphertext under the run's key; its histories read as before, until the run is erased", async () => {
  const world = await createErasureWorld();
  await world.work();
  const run = await world.done(subject);
  const { payloads, execution } = await rawPayloads(world, run);
  const readable = payloads.filter(({ metadata }) => plain(metadata["encoding"]) !== "binary/encrypted");
  // What Temporal's own core notes of a local activity: its number and times, nothing of ours.
  expect(
    readable.map(({ at }) => at).filter((at) => !/markerRecordedEventAttributes\/details\/data\//.test(at)),
  ).toEqual([]);
  expect(readable.map(({ data }) => plain(data)).join("\n")).not.toContain(run);
  const ours = payloads.filter((payload) => !readable.includes(payload));
  expect(ours.length).toBeGreaterThan(8);
  expect(new Set(ours.map(({ metadata }) => plain(metadata["encryption-key-id"])))).toEqual(new Set([run]));

  const opened = payloadsIn(await fetchHistory(world.client, run, execution));
  expect(opened).toHaveLength(payloads.length);
  expect(new Set(opened.map(({ metadata }) => plain(metadata["encoding"])))).toEqual(
    new Set(
      ["json/plain", "binary/null"].filter((one) => opened.some(({ metadata }) => plain(metadata["encoding"]) === one)),
    ),
  );
  expect(opened.map(({ data }) => plain(data)).join("\n")).toContain(run);

  await world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } });
  const codec = createPayloadCodec(world.pool, world.keys);
  const [first] = ours;
  const asBytes = (payload: JsonPayload) => ({
    metadata: Object.fromEntries(
      Object.entries(payload.metadata).map(([name, text]) => [name, Buffer.from(text, "base64")]),
    ),
    data: Buffer.from(payload.data ?? "", "base64"),
  });
  await expect(codec.decode([asBytes(first!)])).rejects.toMatchObject({ code: "contents_erased" });
  await expect(
    codec.encode([asBytes(first!)], { type: "workflow", namespace: "n", workflowId: run }),
  ).rejects.toMatchObject({
    code: "contents_erased",
  });
});

test("what a failure says is not readable in Temporal, and is opened with the codec", async () => {
  const turns = [
    { calls: [{ tool: "pay", arguments: { to: "wobbly secret-of-ada", amount_cents: 100 } }] },
    { text: "done" },
  ];
  const world = await createWorld({ turns });
  await world.work();
  const run = await world.start(subject);
  await world.closed(run);
  const { raw, payloads, execution } = await rawPayloads(world, run);
  // The first attempt failed in the tool's own words, and Temporal keeps that with the second.
  expect(raw).toContain('"type":"tool_broken"');
  expect(raw).not.toMatch(/secret-of-ada|the tool threw/);
  const said = payloads.filter(({ at }) => at.endsWith("/encodedAttributes"));
  expect(said.map(({ metadata }) => plain(metadata["encryption-key-id"]))).toEqual([run]);
  const opened = payloadsIn(await fetchHistory(world.client, run, execution));
  const words = opened.filter(({ at }) => at.endsWith("/encodedAttributes")).map(({ data }) => plain(data));
  expect(words.join()).toContain("the tool threw wobbly secret-of-ada");
});

test("the codec endpoint decodes for who may read, from the UI's origin alone, and each reading is an entry", async () => {
  const ui = "http://temporal.example:8233";
  const world = await createErasureWorld({ temporalUi: ui });
  await world.work();
  const [run, other] = await Promise.all([world.done(subject), world.done({ subject: { id: "cus_bob" } })]);
  const sealed = async (of: RunId) =>
    (await rawPayloads(world, of)).payloads
      .filter(({ metadata }) => metadata["encryption-key-id"] !== undefined)
      .map(({ metadata, data }) => ({ metadata, data }));
  const [hers, his] = [(await sealed(run))[0]!, (await sealed(other))[0]!];
  const ask = async (
    body: unknown,
    as?: keyof typeof world.tokens,
    headers: Record<string, string> = {},
    way = "decode",
  ) => {
    const authorization = as === undefined ? {} : { authorization: `Bearer ${world.tokens[as]}` };
    const answer = await fetch(`${world.url}/codec/${way}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-namespace": "default", ...authorization, ...headers },
      body: JSON.stringify(body),
    });
    return {
      status: answer.status,
      allowed: answer.headers.get("access-control-allow-origin"),
      body: await answer.json(),
    };
  };
  const both = { payloads: [hers, his] };
  const reads = async () => (await world.entries("audit.read")).filter(({ facts }) => facts["what"] === "temporal");

  for (const [as, status] of [
    [undefined, 401],
    ["reviewer", 403],
  ] as const)
    expect(await ask(both, as)).toMatchObject({ status, body: { error: {} } });
  expect(await ask({ payloads: "x" }, "auditor")).toMatchObject({ status: 400 });
  expect(await reads()).toEqual([]);

  const answer = await ask(both, "operator", { origin: ui, "sec-fetch-site": "cross-site" });
  expect(answer).toMatchObject({ status: 200, allowed: ui });
  const { payloads } = answer.body as { payloads: JsonPayload[] };
  expect(payloads.map(({ metadata }) => plain(metadata["encoding"]))).toEqual(["json/plain", "json/plain"]);
  expect([run, other].map((id, place) => plain(payloads[place]?.data).includes(id))).toEqual([true, true]);
  expect((await reads()).map(({ facts }) => [facts["run"], facts["by"]])).toEqual([
    [run, "operator"],
    [other, "operator"],
  ]);

  // A refusal can be read by the page that gets it, and by no other.
  expect(await ask(both, undefined, { origin: ui })).toMatchObject({ status: 401, allowed: ui });
  expect(await ask(both, "auditor", { origin: "http://evil.example" })).toMatchObject({ status: 403, allowed: null });
  expect(await ask(both, "admin", { origin: ui }, "encode")).toMatchObject({ status: 403 });
  const elsewhere = await fetch(`${world.url}/v1/freezes`, {
    method: "POST",
    headers: { origin: ui, authorization: `Bearer ${world.tokens.admin}`, "content-type": "application/json" },
    body: JSON.stringify({ reason: "r" }),
  });
  expect(elsewhere.status).toBe(403);
  const preflight = async (origin: string) => {
    const headers = {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization",
    };
    const found = await fetch(`${world.url}/codec/decode`, { method: "OPTIONS", headers });
    return [
      found.status,
      found.headers.get("access-control-allow-origin"),
      found.headers.get("access-control-allow-headers"),
    ];
  };
  expect(await preflight(ui)).toEqual([204, ui, "authorization, content-type, x-namespace"]);
  expect(await preflight("http://evil.example")).toEqual([403, null, null]);

  // Hers under his name, and what is erased, go back as they came.
  const renamed = { ...hers, metadata: his.metadata };
  expect((await ask({ payloads: [renamed] }, "auditor")).body).toEqual({ payloads: [renamed] });
  await world.as("admin").erase({ body: { subject: "cus_ada", reason: "r" } });
  const after = (await ask(both, "auditor")).body as { payloads: JsonPayload[] };
  expect(after.payloads[0]).toEqual(hers);
  expect(plain(after.payloads[1]?.data)).toContain(other);
});

test("with keys wrapped by Vault, what Vault does not open is not read, and nothing is written without it", async () => {
  const database = await freshDatabase();
  onTestFinished(() => database.close());
  const { pool } = database;
  const vault = await playVault();
  const now = new Date();
  const inAnotherProcess = () =>
    payloadKeysOf(
      Buffer.alloc(32, 7),
      vaultKeyProvider({
        address: vault.address,
        token: vaultToken,
        key: "countersign",
        mount: "transit",
        timeoutMs: 300,
      }),
    );
  const run = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV" as RunId;
  const keys = inAnotherProcess();
  const dataKey = await dataKeyOf(pool, keys, "ada", now);
  const { sealing, sealedKey } = newRunKey(dataKey, run);
  const [digest] = await putPayloads(pool, sealing, [{ prompt: "hi" }]);
  await pool.query(
    `insert into release (digest, team, agent, document, created_at, created_by)
     values (repeat('0', 64), 't', 'a', '{"model": {"name": "m"}, "tools": []}', now(), 'o')`,
  );
  await pool.query(
    `insert into run (id, team, agent, release, input, requested_by, created_at, max_steps, max_cost_micro_usd, data_key, sealed_key)
     values ($1, 't', 'a', repeat('0', 64), $2, 'o', now(), 1, 1, $3, $4)`,
    [run, digest, dataKey.id, sealedKey],
  );
  expect(await getPayload(pool, inAnotherProcess(), digest!)).toEqual({ prompt: "hi" });
  vault.behave = "late";
  await expect(getPayload(pool, inAnotherProcess(), digest!)).rejects.toMatchObject({ code: "key_provider_failed" });
  vault.behave = "sealed";
  await expect(dataKeyOf(pool, keys, "bob", now)).rejects.toMatchObject({ code: "key_provider_failed" });
  // A process with another provider does not try.
  await expect(getPayload(pool, payloadKeysOf(Buffer.alloc(32, 7)), digest!)).rejects.toMatchObject({
    code: "key_unusable",
  });
});
