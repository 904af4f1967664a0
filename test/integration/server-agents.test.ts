import { describe, expect, test } from "vitest";

import type { Digest } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import {
  activatePolicySet,
  lockPolicies,
  moveChannel,
  registerRelease,
  releaseOfDocument,
  setPolicyGuard,
} from "../../src/registry/index.ts";
import { digestOf, inTransaction } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { serveForFile } from "../support/served-api.ts";
import { document, tool } from "../support/test-records.ts";
import type { Answer } from "../support/served-api.ts";

const { call, database, register } = serveForFile();

describe("agents and policies", () => {
  test("registering gives a release, production and the shipped policies, once, and says so to the ledger", async () => {
    const first = await register();
    expect(first).toMatchObject({ status: 201, body: { created: true, policiesActivated: true } });
    const again = await register();
    expect(again).toMatchObject({ status: 201, body: { created: false, policiesActivated: false } });
    const { release } = first.body as { release: Digest };
    expect(release).toBe(digestOf(document() as never));
    const shown = await call("GET", "/v1/agents/shop/support", { as: "auditor" });
    expect(shown.body).toMatchObject({
      channels: { production: release },
      production: { digest: release },
      history: [{ release }],
    });
    const { rows } = await database().pool.query<{ event: string }>(
      "select event from ledger_outbox where log = 'shop' order by id",
    );
    expect(rows.map((row) => (JSON.parse(row.event) as { kind: string }).kind)).toEqual(
      expect.arrayContaining(["policy.activated", "release.registered", "channel.moved"]),
    );
    expect(rows.filter((row) => row.event.includes("release.registered"))).toHaveLength(1);
  });

  test("policies must fit the team's tools, and a release the policies in force", async () => {
    await register();
    const about = (name: string) => ({
      document: {
        v: 1,
        policies: [{ id: "only", text: `@id("only") permit (principal, action == Action::"tool/${name}", resource);` }],
      },
    });
    const url = "/v1/policies/shop/activate";
    expect(await call("POST", url, { as: "operator", body: about("misspelt") })).toMatchObject({
      status: 422,
      code: "policies_invalid",
    });
    expect(await call("POST", url, { as: "operator", body: about("act") })).toMatchObject({
      status: 201,
      body: { changed: true },
    });
    expect(await call("GET", "/v1/policies/shop", { as: "reviewer" })).toMatchObject({ body: { by: "operator" } });
    expect(await register({ tools: [tool("look")] })).toMatchObject({ status: 422, code: "policies_do_not_fit" });
    expect(await register({ prompt: "help more" })).toMatchObject({ status: 201, body: { created: true } });
  });
});

describe("what changes together", () => {
  const aboutAct = {
    document: {
      v: 1,
      policies: [{ id: "only", text: '@id("only") permit (principal, action == Action::"tool/act", resource);' }],
    },
  } as const;
  const activate = (team: string) => call("POST", `/v1/policies/${team}/activate`, { as: "operator", body: aboutAct });

  /** What is answered when `change` is committed while the request is under way, by somebody who was first at the team's policies. */
  async function answeredAfter(team: string, request: () => Promise<Answer>, change: (tx: Tx) => Promise<unknown>) {
    let answer: Promise<Answer> | undefined;
    await inTransaction(database().pool, async (tx) => {
      await lockPolicies(tx, team);
      let isAnswered = false;
      answer = request().finally(() => void (isAnswered = true));
      while (!isAnswered) {
        const { rowCount } = await database().pool.query(
          "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
        );
        if (rowCount === 1) break;
      }
      await change(tx);
    });
    return answer;
  }

  test("a guard that is being set holds for an activation that comes meanwhile", async () => {
    await register({ team: "guarded" });
    const guard = { approvers: "owners", quorum: 1 };
    const answer = await answeredAfter(
      "guarded",
      () => activate("guarded"),
      (tx) => setPolicyGuard(tx, "guarded", guard, "admin", new Date()),
    );
    expect(answer).toMatchObject({ status: 201, body: { changed: false, pending: { state: "open" } } });
  });

  test("an activation is checked against a release that is being registered, and a release against a set", async () => {
    for (const team of ["first", "second"]) await register({ team });
    const now = new Date();
    const activated = await answeredAfter(
      "first",
      () => activate("first"),
      async (tx) => {
        const release = releaseOfDocument(document({ team: "first", tools: [tool("look")] }));
        await registerRelease(tx, release, "operator", now);
        const move = { team: "first", agent: "support", channel: "production", release: release.digest } as const;
        await moveChannel(tx, { ...move, by: "operator", reason: "registered", now });
      },
    );
    expect(activated).toMatchObject({ status: 422, code: "policies_invalid" });
    const registered = await answeredAfter(
      "second",
      () => register({ team: "second", tools: [tool("look")] }),
      (tx) => activatePolicySet(tx, "second", aboutAct.document as unknown as Json, "operator", now),
    );
    expect(registered).toMatchObject({ status: 422, code: "policies_do_not_fit" });
  });

  test("a retrieval source is frozen by its name, and a name that nothing has is refused", async () => {
    const handbook = {
      ...tool("handbook"),
      results: { origin: "trusted", confidentiality: "internal" },
      topK: 3,
    } as const;
    const { idempotency: _, parameters: __, ...source } = handbook;
    expect(await register({ team: "readers", retrieval: [source] as never })).toMatchObject({ status: 201 });
    const freeze = (name: string) =>
      call("POST", "/v1/freezes", { as: "operator", body: { team: "readers", tool: name, reason: "wrong pages" } });
    expect(await freeze("hanbook")).toMatchObject({ status: 404, code: "agent_not_found" });
    expect(await freeze("handbook")).toMatchObject({ body: { changed: true } });
  });
});
