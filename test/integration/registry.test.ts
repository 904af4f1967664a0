import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { codeOf } from "../../src/core/errors.ts";
import type { Digest } from "../../src/core/ids.ts";
import type { Channel, Release } from "../../src/core/release.ts";
import {
  activatePolicySet,
  activePolicySet,
  approveProposal,
  channelEvents,
  hashToken,
  listAgents,
  moveChannel,
  newestReleases,
  newToken,
  policySetByDigest,
  principalByToken,
  proposePolicySet,
  putPrincipal,
  registerRelease,
  releaseByDigest,
  releaseOfDocument,
  resolveChannel,
  setPolicyGuard,
} from "../../src/registry/index.ts";
import type { Json } from "../../src/core/json.ts";
import { digestOf, inTransaction } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const now = new Date("2026-01-02T03:04:05.000Z");
const refusal = "23001";

let database: TestDatabase;
beforeAll(async () => {
  database = await freshDatabase({ max: 10 });
});
afterAll(() => database.close());

function releaseNamed(agent: string, prompt: string, team = "shop"): Release {
  return releaseOfDocument({
    v: 1,
    team,
    agent,
    useCase: "u",
    riskTier: "limited",
    model: { name: "m", maxOutputTokens: 1, temperature: 0.1 },
    prompt,
    tools: [],
    limits: { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 },
    output: { type: "object", properties: { z: { type: "number", maximum: 1e21 }, a: { const: "\\u0000 é 東" } } },
  });
}

const register = (release: Release): Promise<boolean> => registerRelease(database.pool, release, "olga", now);

const move = (
  release: Release,
  channel: Channel = "production",
  agent = release.document.agent,
  team = release.document.team,
) =>
  inTransaction(database.pool, (tx) =>
    moveChannel(tx, { team, agent, channel, release: release.digest, by: "olga", reason: "r", now }),
  );

/** What somebody with the owner's rights can do. */
async function tamper(table: string, statement: string): Promise<void> {
  await inTransaction(database.pool, async (tx) => {
    await tx.query(`alter table ${table} disable trigger user`);
    await tx.query(statement);
    await tx.query(`alter table ${table} enable trigger user`);
  });
}

describe("releases", () => {
  test("are registered once, also by many at once, and read back as they were", async () => {
    const release = releaseNamed("support", "one");
    const created = await Promise.all(Array.from({ length: 6 }, () => register(release)));
    expect(created.filter(Boolean)).toHaveLength(1);
    expect(await releaseByDigest(database.pool, release.digest)).toEqual(release);
  });

  test("of a team named as the ledger's log of people are not kept, nor are policies of one", async () => {
    const release = releaseNamed("support", "one");
    const document = { ...release.document, team: "people" };
    const digest = digestOf(document as unknown as Json);
    await expect(register({ digest, document })).rejects.toMatchObject({
      constraint: "team_is_not_the_log_of_people",
    });
    const policies = inTransaction(database.pool, (tx) => activatePolicySet(tx, "people", { v: 1 }, "olga", now));
    await expect(policies).rejects.toMatchObject({ constraint: "team_is_not_the_log_of_people" });
  });

  test("with a name that is not theirs are not registered", async () => {
    const release = { ...releaseNamed("support", "two"), digest: "d".repeat(64) as Digest };
    await expect(register(release)).rejects.toMatchObject({ code: "release_corrupt" });
    await expect(releaseByDigest(database.pool, release.digest)).rejects.toMatchObject({ code: "release_missing" });
  });

  test("that were changed in the database are not read, alone or in a list", async () => {
    const release = releaseNamed("tampered", "be kind", "tampered");
    await register(release);
    await move(release);
    await tamper(
      "release",
      `update release set document = jsonb_set(document, '{prompt}', '"be evil"') where digest = '${release.digest}'`,
    );
    await expect(releaseByDigest(database.pool, release.digest)).rejects.toMatchObject({ code: "release_corrupt" });
    await expect(newestReleases(database.pool, "tampered")).rejects.toMatchObject({ code: "release_corrupt" });
  });
});

describe("channels", () => {
  test("point where their last event says; the same move again is none", async () => {
    const [one, two] = [releaseNamed("mover", "1"), releaseNamed("mover", "2")];
    await register(one);
    await register(two);
    expect(await resolveChannel(database.pool, "shop", "mover", "production")).toBeUndefined();
    const events = [await move(one), await move(one), await move(two), await move(one), await move(two, "dev")];
    expect(events.map((event) => event !== undefined)).toEqual([true, false, true, true, true]);
    expect(await resolveChannel(database.pool, "shop", "mover", "production")).toBe(one.digest);
    expect(await resolveChannel(database.pool, "shop", "mover", "dev")).toBe(two.digest);
    const history = await channelEvents(database.pool, "shop", "mover");
    expect(history.map(({ channel, release }) => [channel, release === one.digest ? 1 : 2])).toEqual([
      ["dev", 2],
      ["production", 1],
      ["production", 2],
      ["production", 1],
    ]);
    expect(history[0]).toMatchObject({ at: now, by: "olga", reason: "r" });
  });

  test("moved to one place by many at once get one event", async () => {
    const release = releaseNamed("crowd", "1");
    await register(release);
    const events = await Promise.all(Array.from({ length: 6 }, () => move(release, "staging")));
    expect(events.filter((event) => event !== undefined)).toHaveLength(1);
  });

  test("take no release of another agent or team, nor one that is unknown", async () => {
    const release = releaseNamed("own", "1");
    await register(release);
    await expect(move(release, "dev", "other")).rejects.toMatchObject({ code: "release_missing" });
    await expect(move(release, "dev", "own", "bank")).rejects.toMatchObject({ code: "release_missing" });
    await expect(move(releaseNamed("own", "never registered"))).rejects.toMatchObject({ code: "release_missing" });
  });
});

test("agents are listed with their channels, whole or page by page", async () => {
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) await register(releaseNamed(name, "1", "pages"));
  await register(releaseNamed("c", "2", "pages"));
  await move(releaseNamed("c", "2", "pages"));
  const all = await listAgents(database.pool, "pages");
  expect(all.map(({ agent, releases }) => [agent, releases])).toEqual([
    ["a", 1],
    ["b", 1],
    ["c", 2],
    ["d", 1],
    ["e", 1],
  ]);
  expect(all[2]?.channels).toEqual({ production: releaseNamed("c", "2", "pages").digest });
  const first = await listAgents(database.pool, "pages", { limit: 2 });
  const second = await listAgents(database.pool, "pages", { limit: 3, after: { team: "pages", agent: "b" } });
  expect([...first, ...second]).toEqual(all);
  // The pages of one team do not run on into the next, those of all teams do.
  expect(await listAgents(database.pool, "pages", { limit: 9, after: { team: "pages", agent: "e" } })).toEqual([]);
  const [next] = await listAgents(database.pool, undefined, { limit: 1, after: { team: "pages", agent: "e" } });
  expect(next?.team).toBe("shop");
});

describe("policy sets", () => {
  const set = (text: string) => ({ v: 1, policies: [{ id: "p", text }] });
  const activate = (team: string, text: string) =>
    inTransaction(database.pool, (tx) => activatePolicySet(tx, team, set(text), "olga", now));

  test("are in force from their activation on; the same one again is none", async () => {
    expect(await activePolicySet(database.pool, "shop")).toBeUndefined();
    const first = await activate("shop", "one");
    expect(first.activation).toBeDefined();
    expect(await activate("shop", "one")).toEqual({ digest: first.digest, activation: undefined });
    const second = await activate("shop", "two");
    expect(await activePolicySet(database.pool, "shop")).toEqual({ digest: second.digest, document: set("two") });
    expect((await activate("shop", "one")).activation).toBeDefined();
    expect((await activePolicySet(database.pool, "shop"))?.digest).toBe(first.digest);
    expect(await activePolicySet(database.pool, "bank")).toBeUndefined();
  });

  test("activated by many at once are activated once", async () => {
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => activate("crowd", "x")));
    expect(outcomes.filter(({ activation }) => activation !== undefined)).toHaveLength(1);
  });

  test("that were changed in the database, or are not there, decide nothing", async () => {
    const { digest } = await activate("tampered", "forbid everything");
    await tamper("policy_set", `update policy_set set document = '{"v":1,"policies":[]}' where digest = '${digest}'`);
    await expect(activePolicySet(database.pool, "tampered")).rejects.toMatchObject({ code: "policy_set_corrupt" });
    await expect(policySetByDigest(database.pool, "d".repeat(64) as Digest)).rejects.toMatchObject({
      code: "policy_set_missing",
    });
  });
});

describe("guarded policies", () => {
  const guard = { approvers: "owners", quorum: 2 };
  const set = { v: 1, policies: [{ id: "x", text: "permit (principal, action, resource);" }], schemaVersion: 1 };
  const person = (id: string, groups: readonly string[], of?: string) =>
    putPrincipal(database.pool, {
      id,
      displayName: id,
      roles: ["operator"],
      groups,
      ...(of === undefined ? {} : { person: of }),
    });
  const propose = (team: string) =>
    inTransaction(database.pool, async (tx) => {
      await setPolicyGuard(tx, team, guard, "adam", now);
      return (await proposePolicySet(tx, team, { ...set, team }, guard, "olga", now)).id;
    });
  const approve = async (proposal: number, id: string, groups: readonly string[] = ["owners"]) => {
    try {
      const { activation } = await inTransaction(database.pool, (tx) =>
        approveProposal(tx, proposal, { id, groups }, now),
      );
      return activation === undefined ? "counted" : "in force";
    } catch (error) {
      return codeOf(error);
    }
  };
  beforeAll(async () => {
    await person("olga", ["owners"]);
    await person("olga.two", ["owners"], "olga");
    await person("ann", ["owners"]);
    await person("ann.two", ["owners"], "ann");
    await person("bob", ["owners"]);
    await person("carl", ["owners"]);
  });

  test("are approved by different people, whatever accounts they have, and not by who proposed them", async () => {
    const id = await propose("guarded-people");
    expect(await approve(id, "olga.two")).toBe("proposal_own");
    expect(await approve(id, "ann")).toBe("counted");
    expect(await approve(id, "ann.two")).toBe("proposal_approved");
    expect(await approve(id, "bob")).toBe("in force");
  });

  test("are not put in force with the approval of somebody who has left the group since", async () => {
    const id = await propose("guarded-left");
    expect(await approve(id, "carl")).toBe("counted");
    await person("carl", []);
    expect(await approve(id, "ann")).toBe("counted");
    expect(await approve(id, "bob")).toBe("in force");
  });

  test("take no approvals that another guard asked for", async () => {
    const id = await propose("guarded-anew");
    expect(await approve(id, "ann")).toBe("counted");
    await inTransaction(database.pool, (tx) =>
      setPolicyGuard(tx, "guarded-anew", { approvers: "owners", quorum: 3 }, "adam", now),
    );
    expect(await approve(id, "bob")).toBe("proposal_closed");
  });
});

describe("principals", () => {
  const person = { id: "rita", displayName: "Rita", roles: ["reviewer"], groups: ["reviewers"] } as const;

  test("are found by their token alone, which is nowhere in the database", async () => {
    const token = newToken();
    expect(token).toMatch(/^cs_[A-Za-z0-9_-]{43}$/);
    await putPrincipal(database.pool, person, hashToken(token));
    expect(await principalByToken(database.pool, hashToken(token))).toEqual({ ...person, roleTeams: {} });
    expect(await principalByToken(database.pool, token)).toBeUndefined();
    expect(await principalByToken(database.pool, hashToken(newToken()))).toBeUndefined();
    const { rows } = await database.pool.query<{ all: string }>("select principal::text as all from principal");
    expect(rows.some((row) => row.all.includes(token))).toBe(false);
    // Brought up to date without a token, one keeps it; given another, the old one is void.
    await putPrincipal(database.pool, { ...person, groups: [] });
    expect((await principalByToken(database.pool, hashToken(token)))?.groups).toEqual([]);
    await putPrincipal(database.pool, person, hashToken(newToken()));
    expect(await principalByToken(database.pool, hashToken(token))).toBeUndefined();
  });

  test("without a token are nobody's", async () => {
    await putPrincipal(database.pool, { ...person, id: "silent" });
    for (const guess of ["", "null", hashToken("")])
      expect(await principalByToken(database.pool, guess)).toBeUndefined();
    await expect(putPrincipal(database.pool, { ...person, id: "Rita Smith" })).rejects.toMatchObject({
      code: "principal_invalid",
    });
  });
});

test("history is never rewritten", async () => {
  for (const table of ["release", "channel_event", "policy_set", "policy_activation"]) {
    const column = table === "release" || table === "policy_set" ? "created_at" : "at";
    for (const statement of [
      `update ${table} set ${column} = now()`,
      `delete from ${table}`,
      `truncate ${table} cascade`,
    ]) {
      const failure = database.pool.query(statement).then(() => "no failure", codeOf);
      expect([statement, await failure]).toEqual([statement, refusal]);
    }
  }
});
