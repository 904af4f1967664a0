import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";

import { routes } from "../../src/api/index.ts";
import type { Role, Route, RouteName } from "../../src/api/index.ts";
import { addReceiver } from "../../src/notify/index.ts";
import { freeze, hashToken, newToken, principalByToken, putPrincipal } from "../../src/registry/index.ts";
import type { RoleTeams } from "../../src/registry/index.ts";
import { placeHold } from "../../src/store/index.ts";
import { noticeWorld } from "../support/notice-world.ts";
import { testKeys } from "../support/test-server.ts";

/**
 * Roles that are held for named teams, at every route: what is of another team is refused to whoever holds each role there is, `admin` too, for
 * `bank` alone; a list leaves it out; and what concerns all teams takes a role for all. A new route has to say here what it is about.
 */
type About =
  /** One team's: `shop`'s, by the path, by what the path names, or by this body. */
  | { readonly of: "shop"; readonly body?: object; readonly query?: string }
  | { readonly of: "all teams"; readonly body?: object }
  | { readonly of: "a list"; readonly shows?: RegExp }
  | { readonly of: "no team" };

const roles: readonly Role[] = ["operator", "reviewer", "auditor", "admin"];
const shop = { of: "shop" } as const;
const [list, noTeam] = [{ of: "a list", shows: /"shop"/ } as const, { of: "no team" } as const];
const signed = { statement: "{}", keyId: "k", signature: "s" };
const set = { document: { v: 1, policies: [{ id: "all", text: '@id("all") permit (principal, action, resource);' }] } };
const reason = "r";
const until = new Date(Date.now() + 86_400_000).toISOString();
const named = { team: "shop", agent: "support" };
const draft = {
  ...named,
  tool: "refund",
  policies: ["p"],
  targets: [{ argument: "order_id", is: "A" }],
  uses: 1,
  until,
  reason,
};

let there: Readonly<Record<string, string>> = {};
let document: object = {};
const ofRun = (): object => ({ run: there["run"], reason });
const question = (): object => ({
  subject: { type: "agent", id: "shop/support" },
  action: { name: "tool/refund", properties: { arguments: {} } },
  resource: { type: "run", id: there["run"] },
});

const about = (): Readonly<Record<RouteName, About>> => ({
  health: noTeam,
  accessMetadata: noTeam,
  whoAmI: noTeam,
  registerAgent: { of: "shop", body: { document } },
  listAgents: list,
  showAgent: shop,
  startRun: { of: "shop", body: { ...named, prompt: "go" } },
  listRuns: list,
  showRun: shop,
  cancelRun: shop,
  watchRun: shop,
  runRecord: shop,
  runEvidence: { of: "shop", query: "?size=1" },
  bundle: noTeam,
  listApprovals: list,
  showApproval: shop,
  decideApproval: { of: "shop", body: signed },
  editApproval: { of: "shop", body: { ...signed, arguments: {} } },
  askApproval: { of: "shop", body: { text: "why" } },
  answerApproval: { of: "shop", body: { text: "so" } },
  listOutcomes: { of: "a list" },
  showOutcome: shop,
  resolveOutcome: { of: "shop", body: signed },
  delegate: noTeam,
  listDelegations: noTeam,
  undelegate: noTeam,
  draftStanding: { of: "shop", body: draft },
  proposeStanding: { of: "shop", body: { ...signed, terms: { team: "shop" } } },
  listStanding: list,
  showStanding: shop,
  approveStanding: { of: "shop", body: signed },
  revokeStanding: shop,
  reportApprovals: { of: "shop", query: "?team=shop" },
  evaluateAccess: { of: "shop", body: question() },
  requestAccess: { of: "shop", body: { ...question(), denial: { evaluation_id: "x.0.0", expires_at: until } } },
  showAccessTask: shop,
  addReceiver: { of: "shop", body: { team: "shop", address: { kind: "webhook", url: "https://example.com/in" } } },
  listReceivers: list,
  testReceiver: shop,
  changeReceiver: { of: "shop", body: { level: "link" } },
  removeReceiver: shop,
  listKeys: noTeam,
  proposeKey: noTeam,
  beginPasskey: noTeam,
  proposePasskey: noTeam,
  confirmKey: { of: "all teams" },
  revokeKey: noTeam,
  activatePolicies: { of: "shop", body: set },
  approveActivation: shop,
  guardPolicies: { of: "shop", body: {} },
  showPolicies: shop,
  policyHistory: shop,
  policySet: shop,
  shadowPolicies: { of: "shop", body: {} },
  showShadow: shop,
  backtestPolicies: { of: "shop", body: { ...set, against: set.document } },
  setBudget: { of: "shop", body: { team: "shop", period: "month", maxCalls: 100 } },
  listBudgets: list,
  freeze: { of: "shop", body: { ...named, reason } },
  liftFreeze: { of: "shop", body: { ...named, reason } },
  listFreezes: list,
  erase: { of: "shop", body: { ...ofRun(), dryRun: true } },
  placeHold: { of: "shop", body: ofRun() },
  liftHold: { of: "shop", body: { hold: there["hold"], reason } },
  listHolds: { of: "shop", body: { run: there["run"] } },
  setRetention: { of: "shop", body: { team: "shop", days: 9_000, reason } },
  listRetentions: list,
  listLogs: { of: "a list" },
  checkpoint: shop,
  entries: shop,
  inclusionProof: { of: "shop", query: "?index=0&size=1" },
  consistencyProof: { of: "shop", query: "?from=1&to=1" },
  verifierKey: shop,
});

/** What names no team, where it could: it concerns them all. */
const forAll: readonly (readonly [RouteName, object])[] = [
  ["freeze", { reason }],
  ["liftFreeze", { tool: "refund", reason }],
  ["erase", { subject: "cus_ada", reason, dryRun: true }],
  ["placeHold", { subject: "cus_ada", reason }],
  ["liftHold", { subject: "cus_ada", reason }],
  ["listHolds", {}],
];

const holders = { shop: newToken(), bank: newToken(), both: newToken() };
type Holder = keyof typeof holders;
let http: FastifyInstance;
let world: Awaited<ReturnType<typeof noticeWorld>>;

beforeAll(async () => {
  world = await noticeWorld({ serve: false, keep: true });
  const { pool, now } = world;
  document = world.release.document;
  for (const [id, token] of Object.entries(holders)) {
    const teams = id === "both" ? ["shop", "bank"] : [id];
    const roleTeams: RoleTeams = Object.fromEntries(roles.map((role) => [role, teams]));
    await putPrincipal(pool, { id, displayName: id, roles, roleTeams, groups: ["treasury"] }, hashToken(token));
  }
  const run = await world.run();
  const receiver = await addReceiver(pool, testKeys, {
    team: "shop",
    groups: [],
    requester: null,
    events: ["opened"],
    level: "summary",
    by: "operator",
    settings: { kind: "email", to: "a@example.com" },
    now: now(),
  } as never);
  await freeze(pool, { team: "shop", agent: "other", reason, by: "operator", now: now() });
  const grant = "sgr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const terms = { ...draft, v: 1, toolDigest: "0".repeat(64), requirements: [], unconstrained: [], from: until };
  // The other one is revoked by nobody.
  for (const id of [grant, grant.replace("V", "W")])
    await pool.query(
      `insert into standing_grant (id, team, agent, tool, terms, terms_digest, proposed_by, proposed_at, expires_at, from_at, until_at)
       values ($1, 'shop', 'support', 'refund', $2, $3, 'operator', now(), now() + interval '1 day', now(), now() + interval '2 days')`,
      [id, terms, "0".repeat(64)],
    );
  there = {
    run,
    approval: await world.ask({ run }),
    digest: world.policySet,
    receiver: receiver.id,
    grant,
    hold: (await placeHold(pool, { run }, { reason, by: "operator", now: now() })).id,
    team: "shop",
    agent: "support",
    log: "shop",
    seq: "3",
    proposal: "0",
    key: "0".repeat(64),
    delegation: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  };
  http = await world.server.http();
  await http.ready();
});
afterAll(() => world.close());

async function send(as: Holder, { method, path }: Pick<Route, "method" | "path">, body: object = {}, query = "") {
  const url = path.replace(/:([a-z]+)/g, (_, name: string) => there[name] ?? "") + query;
  const headers = { authorization: `Bearer ${holders[as]}` };
  const answer = await http.inject({ method, url, headers, ...(method === "POST" ? { payload: body } : {}) });
  const said = (/^\s*\{/.test(answer.body) ? JSON.parse(answer.body) : {}) as {
    error?: { code?: string };
    type?: string;
  };
  return { status: answer.statusCode, code: said.error?.code ?? said.type, body: answer.body };
}

const guarded = (Object.entries(routes) as [RouteName, Route][]).filter(([, { access }]) => access !== "public");
const those = (of: About["of"]) => guarded.filter(([name]) => about()[name].of === of);
/** A stream of a run that is there has no end, and a backtest is long. */
const endless: readonly string[] = ["watchRun", "backtestPolicies"];
const asked = (name: RouteName) => ({ body: {}, query: "", ...about()[name] });

test.each(those("shop"))("%s is refused to whoever has every role, for another team", async (name, route) => {
  const { body, query } = asked(name);
  const { status, code } = await send("bank", route, body, query);
  expect([status, code]).toEqual([403, expect.stringMatching(/forbidden$/)]);
});

test.each(those("shop").filter(([name]) => !endless.includes(name)))("%s is not, for the team", async (name, route) => {
  const { body, query } = asked(name);
  expect((await send("shop", route, body, query)).status).not.toBe(403);
});

test.each(those("all teams"))("%s takes a role for all teams", async (name, route) => {
  for (const as of ["bank", "shop", "both"] as const)
    expect(await send(as, route, asked(name).body)).toMatchObject({ status: 403, code: "forbidden" });
});

test.each(those("a list"))("%s leaves out what is of other teams", async (name, route) => {
  const { shows = /./ } = { ...about()[name] } as { readonly shows?: RegExp };
  const [own, others] = [await send("shop", route), await send("bank", route)];
  expect([own.status, others.status]).toEqual([200, 200]);
  expect(own.body).toMatch(shows);
  expect(others.body).not.toMatch(/"shop"/);
});

test.each(those("a list").filter(([, { query }]) => query !== undefined))(
  "%s of another team is refused",
  async (_name, route) => {
    expect((await send("bank", route, {}, "?team=shop")).status).toBe(403);
  },
);

test.each(those("no team"))("%s takes a role for any team", async (_name, route) => {
  expect((await send("bank", route)).code ?? "").not.toMatch(/^(unauthenticated|forbidden)$/);
});

test.each(forAll)("%s of all teams takes a role for all", async (name, body) => {
  for (const as of ["shop", "both"] as const)
    expect(await send(as, routes[name], body)).toMatchObject({ status: 403, code: "forbidden" });
});

test("an admin of a team is none over people: no key of others, and no list of who they are", async () => {
  const publicKey = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
  const given = await send("both", routes.proposeKey, { publicKey, principal: "operator" });
  expect(given).toMatchObject({ status: 403, body: expect.stringContaining("only an admin") });
  const me = await send("both", routes.whoAmI);
  expect(JSON.parse(me.body)).toMatchObject({ roles, roleTeams: { admin: ["shop", "bank"] } });
});

test("the logs as files, and payloads of Temporal's, are for the team's own", async () => {
  for (const path of ["/ledger/:log/checkpoint", "/ledger/:log/tile/0/000"]) {
    expect((await send("bank", { method: "GET", path })).status).toBe(403);
    expect((await send("shop", { method: "GET", path })).status).not.toBe(403);
    expect((await send("bank", { method: "GET", path: path.replace(":log", "people") })).status).not.toBe(403);
  }
});

test("a limit that is malformed in the database is for no team", async () => {
  const { pool } = world;
  for (const broken of ['{"auditor": "shop"}', '{"auditor": null}', '{"auditor": {"shop": 1}}', '{"auditor": []}']) {
    const token = newToken();
    await putPrincipal(pool, { id: "odd", displayName: "odd", roles: ["auditor"], groups: [] }, hashToken(token));
    await pool.query("update principal set role_teams = $1 where id = 'odd'", [broken]);
    expect((await principalByToken(pool, hashToken(token)))?.roles).toEqual(["auditor"]);
    const headers = { authorization: `Bearer ${token}` };
    const answer = await http.inject({ method: "GET", url: `/v1/runs/${there["run"] ?? ""}`, headers });
    expect([broken, answer.statusCode]).toEqual([broken, 403]);
    const { rows } = await pool.query<{ held: string[] }>(
      "select roles_for(roles, role_teams, 'shop') as held from principal where id = 'odd'",
    );
    expect([broken, rows[0]?.held]).toEqual([broken, []]);
  }
});
