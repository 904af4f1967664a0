import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { routes } from "../../src/api/index.ts";
import type { Role, Route, RouteName } from "../../src/api/index.ts";
import {
  activePolicySet,
  hashToken,
  newToken,
  openProposals,
  proposePolicySet,
  putPrincipal,
  setPolicyGuard,
} from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { noticeWorld } from "../support/notice-world.ts";

/**
 * Who may call what, written down beside the table that the server is made of: a changed role fails here, and so does a new route without
 * a rule. `admin` may call everything but what is its own business alone. What a role that is held for
 * some teams opens is in route-teams.test.ts; what is bound to a team's people is bound by groups, persons and ownership, in `within`.
 */
type Rule = {
  readonly roles: "anybody" | readonly Exclude<Role, "admin">[];
  /** What the caller has to be beside the role; tested where it is named. */
  readonly within?: string;
};

const operators = { roles: ["operator"] } as const;
const reviewers = { roles: ["reviewer"] } as const;
const auditors = { roles: ["auditor"] } as const;
const staff = { roles: ["operator", "reviewer", "auditor"] } as const;

const rules: Readonly<Record<RouteName, Rule>> = {
  health: { roles: "anybody" },
  accessMetadata: { roles: "anybody" },
  whoAmI: staff,
  registerAgent: operators,
  listAgents: staff,
  showAgent: staff,
  startRun: operators,
  listRuns: staff,
  showRun: staff,
  cancelRun: operators,
  watchRun: staff,
  runRecord: auditors,
  runEvidence: auditors,
  bundle: auditors,
  listApprovals: staff,
  showApproval: staff,
  decideApproval: { ...reviewers, within: "a group that the request asks, and not barred: approval-routing.test.ts" },
  editApproval: { ...reviewers, within: "as for a decision: approval-edit.test.ts" },
  askApproval: { ...reviewers, within: "as for a decision: approval-context.test.ts" },
  answerApproval: { ...staff, within: "who asked for the run, or an operator: approval-context.test.ts" },
  listOutcomes: staff,
  showOutcome: staff,
  resolveOutcome: { ...reviewers, within: "a group whose approval the call had: unknown-outcome.test.ts" },
  delegate: { ...reviewers, within: "one's own groups" },
  listDelegations: staff,
  undelegate: { ...reviewers, within: "delegator, delegate or admin: approval-routing.test.ts" },
  draftStanding: reviewers,
  proposeStanding: { ...reviewers, within: "a group that the policy asks: standing-grants.test.ts" },
  listStanding: staff,
  showStanding: staff,
  approveStanding: { ...reviewers, within: "as for a decision: standing-grants.test.ts" },
  revokeStanding: {
    ...reviewers,
    within: "who proposed, approved or may approve it, or an admin: standing-grants.test.ts",
  },
  reportApprovals: staff,
  evaluateAccess: staff,
  requestAccess: staff,
  showAccessTask: staff,
  addReceiver: operators,
  listReceivers: staff,
  testReceiver: operators,
  changeReceiver: operators,
  removeReceiver: operators,
  listKeys: staff,
  proposeKey: { ...reviewers, within: "for oneself; for others an admin: reviewer-keys.test.ts" },
  beginPasskey: reviewers,
  proposePasskey: reviewers,
  confirmKey: { roles: [], within: "neither owner nor proposer: reviewer-keys.test.ts" },
  revokeKey: { ...staff, within: "one's own; for others an admin: reviewer-keys.test.ts" },
  activatePolicies: operators,
  approveActivation: { ...staff, within: "the group that guards the team's policies: registry.test.ts" },
  guardPolicies: { ...operators, within: "an admin where there is a guard: policy-commands.test.ts" },
  showPolicies: staff,
  policyHistory: staff,
  policySet: staff,
  shadowPolicies: operators,
  showShadow: staff,
  backtestPolicies: { roles: ["operator", "auditor"] },
  setBudget: operators,
  listBudgets: staff,
  freeze: operators,
  liftFreeze: operators,
  listFreezes: staff,
  erase: { roles: [], within: "no open run, no hold: erasure.test.ts" },
  placeHold: auditors,
  liftHold: { roles: [] },
  listHolds: auditors,
  setRetention: { roles: [] },
  listRetentions: { roles: ["operator", "auditor"] },
  listLogs: { roles: ["operator", "auditor"] },
  checkpoint: { roles: ["operator", "auditor"] },
  entries: auditors,
  inclusionProof: auditors,
  consistencyProof: { roles: ["operator", "auditor"] },
  verifierKey: { roles: ["operator", "auditor"] },
};

/** What is served beside the table: pages and files that hold nothing, the description, and the logs for monitors. */
const beside: Readonly<Record<string, Rule["roles"]>> = {
  "/openapi.json": "anybody",
  "/keys": "anybody",
  "/approve": "anybody",
  "/approve/:approval": "anybody",
  "/grants": "anybody",
  "/grants/:grant": "anybody",
  "/pages/": "anybody",
  "/codec/decode": ["operator", "auditor"],
  // Refused to everybody; who has not the role is told no more than that.
  "/codec/encode": ["operator", "auditor"],
  "/ledger/:log/checkpoint": auditors.roles,
  "/ledger/:log/tile/*": auditors.roles,
};

const callers = ["operator", "reviewer", "auditor", "admin", "nobody"] as const;
type Caller = (typeof callers)[number];
const tokens = Object.fromEntries(callers.map((name) => [name, newToken()])) as Record<Caller, string>;
const missing: Readonly<Record<string, string>> = {
  run: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  approval: "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  delegation: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  receiver: "rcv_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  digest: "0".repeat(64),
  key: "0".repeat(64),
  grant: "sgr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  seq: "0",
  proposal: "0",
};

let http: FastifyInstance;
let world: Awaited<ReturnType<typeof noticeWorld>>;
let there: Readonly<Record<string, string>>;

beforeAll(async () => {
  world = await noticeWorld({ serve: false, keep: true });
  const { pool } = world;
  for (const id of callers) {
    const roles = id === "nobody" ? [] : [id];
    await putPrincipal(pool, { id, displayName: id, roles, groups: [] }, hashToken(tokens[id]));
  }
  const run = await world.run();
  there = {
    run,
    approval: await world.ask({ run }),
    digest: world.policySet,
    team: "shop",
    agent: "support",
    log: "shop",
  };
  http = await world.server.http();
  await http.ready();
});
afterAll(() => world.close());

const pathWith = (path: string, ids: Readonly<Record<string, string>>): string =>
  path.replace(/:([a-z]+)/g, (_, name: string) => ids[name] ?? missing[name] ?? "elsewhere").replace("*", "0/000");

async function call(method: "GET" | "POST", url: string, as?: Caller | { readonly token: string }) {
  const token = as === undefined ? undefined : typeof as === "string" ? tokens[as] : as.token;
  const { statusCode, body } = await http.inject({
    method,
    url,
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    // Nothing that a route would act on: it is about who gets so far.
    ...(method === "POST" ? { payload: {} } : {}),
  });
  const said = (/^\s*\{/.test(body) ? JSON.parse(body) : {}) as { error?: { code?: string } };
  return { status: statusCode, code: said.error?.code, body };
}

/** Every path that is served: from the router, not from the table. It prints a path with `*` as that alone. */
function served(): readonly string[] {
  const above: string[] = [];
  const lines = http.printRoutes({ commonPrefix: false }).split("\n");
  return lines.flatMap((line) => {
    const read = /^((?:│ {3}| {4})*)(?:├── |└── )(\S*)(?: \(([A-Z, ]+)\))?/.exec(line);
    if (read === null) return [];
    const [, indent = "", segment = "", methods] = read;
    above.length = indent.length / 4;
    above.push(segment);
    return methods === undefined ? [] : [above.join("")];
  });
}

test("every path that is served has a rule, here or in the table", () => {
  const known = [...Object.values(routes).map(({ path }) => path as string), ...Object.keys(beside)];
  const starred = known.filter((path) => path.includes("*"));
  const paths = served().filter((path) => !path.startsWith("/pages/"));
  expect([...new Set(paths)].toSorted()).toEqual(
    [...new Set(known)]
      .filter((path) => path !== "/pages/")
      .map((path) => (starred.includes(path) ? "*" : path))
      .toSorted(),
  );
  expect(paths.filter((path) => path === "*")).toHaveLength(starred.length);
});

const isOpen = (roles: Rule["roles"]): boolean => roles === "anybody";
const mayCall = (as: Caller, roles: Rule["roles"]): boolean =>
  as === "admin" || (roles as readonly string[]).includes(as);
const all = Object.entries(routes) as [RouteName, Route][];

test.each(all)("%s has the access that is written down", (name, { access }) => {
  const { roles } = rules[name];
  expect(access === "public" ? "anybody" : access).toEqual(typeof roles === "string" ? roles : [...roles]);
});

test.each(all.filter(([name]) => isOpen(rules[name].roles)))("%s is open to anybody", async (_, { method, path }) => {
  expect([401, 403]).not.toContain((await call(method, pathWith(path, there))).status);
});

test.each(all.filter(([name]) => !isOpen(rules[name].roles)))(
  "%s is refused to whoever has not the role, whatever is there, and in the same words",
  async (name, { method, path }) => {
    const { roles } = rules[name];
    const [found, absent] = [pathWith(path, there), pathWith(path, {})];
    for (const as of [undefined, { token: newToken() }, { token: hashToken(tokens.admin) }]) {
      const refused = await call(method, found, as);
      expect(refused).toMatchObject({ status: 401, code: "unauthenticated" });
      expect(await call(method, absent, as)).toEqual(refused);
    }
    for (const as of callers.filter((one) => !mayCall(one, roles))) {
      const refused = await call(method, found, as);
      expect(refused, as).toMatchObject({ status: 403, code: "forbidden" });
      expect(await call(method, absent, as), as).toEqual(refused);
    }
    for (const as of callers.filter((one) => mayCall(one, roles))) {
      // A stream of a run that is there has no end.
      const { code = "" } = await call(method, name === "watchRun" ? absent : found, as);
      expect(code, as).not.toMatch(/^(unauthenticated|forbidden)$/);
    }
  },
);

test("pages and their files are for anybody", async () => {
  const open = Object.entries(beside).flatMap(([path, roles]) => (isOpen(roles) && path !== "/pages/" ? [path] : []));
  for (const path of [...open, ...served().filter((one) => one.startsWith("/pages/"))])
    expect((await call("GET", pathWith(path, there))).status, path).toBe(200);
});

test.each(["/approve", "/grants", "/keys"])("%s has the form to sign in, once", async (path) => {
  const { body } = await call("GET", path);
  expect(body.match(/<form id="sign-in"/g)).toHaveLength(1);
  expect(body).not.toContain("<!--");
});

const held = Object.entries(beside).filter(([path, roles]) => !isOpen(roles) && path !== "/codec/encode");

test.each(held)("%s is for those who have the role", async (path, roles) => {
  const url = pathWith(path, there);
  const method = path.startsWith("/codec/") ? "POST" : "GET";
  expect(await call(method, url)).toMatchObject({ status: 401 });
  for (const as of callers) expect((await call(method, url, as)).status === 403, as).toBe(!mayCall(as, roles));
});

test("nobody has anything encoded", async () => {
  expect(await call("POST", "/codec/encode")).toMatchObject({ status: 401 });
  for (const as of callers) expect(await call("POST", "/codec/encode", as), as).toMatchObject({ status: 403 });
});

describe("another team's", () => {
  test("proposed policies are not approved under this team's name, and nothing of the attempt stays", async () => {
    const { pool } = world;
    const owner = newToken();
    await putPrincipal(
      pool,
      { id: "owner", displayName: "owner", roles: ["auditor"], groups: ["owners"] },
      hashToken(owner),
    );
    const id = await inTransaction(pool, async (tx) => {
      await setPolicyGuard(tx, "bank", { approvers: "owners", quorum: 1 }, "operator", new Date());
      const document = (await activePolicySet(tx, "shop"))?.document ?? null;
      const guard = { approvers: "owners", quorum: 1 };
      return (await proposePolicySet(tx, "bank", document, guard, "operator", new Date())).id;
    });
    expect(await call("POST", `/v1/policies/shop/proposals/${id}/approve`, { token: owner })).toMatchObject({
      status: 404,
      code: "proposal_not_found",
    });
    expect(await openProposals(pool, "bank")).toMatchObject([{ id, approvedBy: [], state: "open" }]);
    expect(await activePolicySet(pool, "bank")).toBeUndefined();
  });

  test("records are read by every auditor whose role is for all teams", async () => {
    expect(await call("GET", `/v1/runs/${there["run"] ?? ""}`, "auditor")).toMatchObject({ status: 200 });
  });
});
