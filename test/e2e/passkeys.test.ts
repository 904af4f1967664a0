import { readFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

import { createClient } from "../../src/api/index.ts";
import type { ApiClient } from "../../src/api/index.ts";
import { delegationProblemsAhead } from "../../src/audit/approvals/delegated.ts";
import { verifyRun } from "../../src/audit/index.ts";
import type { Trust } from "../../src/audit/offline/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import { signStatementOf } from "../../src/cli/sign-decision.ts";
import type { LedgerEntry } from "../../src/core/ledger-event.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import type { Role } from "../../src/registry/index.ts";
import { addAuthenticator, startChromium } from "../support/chromium.ts";
import type { Authenticator } from "../support/chromium.ts";
import { hasPython, startSecondReader } from "../support/second-reader.ts";
import { sequencedLedger, testServer } from "../support/test-server.ts";
import { createWorld, until } from "../support/world.ts";
import { countersign, documentOf, errorIn } from "./program.ts";

/** Reviewers in a real browser, with a virtual authenticator; all else is the real thing, as for a run of any agent. */
const policy = `
@id("all") permit(principal, action, resource);
@id("pay-needs-a-passkey") @decision("require_approval") @group("treasury") @signed("passkey") @expires("1h") @reason("payments need a passkey")
forbid(principal, action == Action::"tool/pay", resource);
`;
const hostile = `</pre><script>document.title="owned"</script><img src=x onerror="document.title='owned'">\u202eada`;

type ScriptedTurn = Parameters<typeof createWorld>[0]["turns"][number];

let browser: Browser;
beforeAll(async () => void (browser = await startChromium()));
afterAll(() => browser?.close());

test("a passkey is enrolled by one and confirmed by another, and approves a run that waits, which goes on", async () => {
  const { world, url, origin, person } = await createSite();
  await world.work();
  const [rita, amir] = [await person("rita", ["reviewer"], ["treasury"]), await person("amir", ["admin"], [])];
  const run = await world.start();
  const request = await world.request(run);

  // Rita's browser: she has no passkey yet, and is told what to do.
  const page = await openPage(`${origin}/approve/${request.id}`);
  const authenticator = await addAuthenticator(page);
  for (const wrong of ["not a token", "日本"]) {
    await signIn(page, wrong);
    await says(page, wrong === "日本" ? /letters that none has/ : /valid bearer token/);
  }
  await signIn(page, rita.token);
  await page.getByRole("button", { name: "Approve with passkey" }).click();
  await says(page, /no confirmed passkey/i);

  // What the model wrote is text on the page, to the letter, and nothing of it ran.
  const shown = (await rita.client.showApproval({ params: { approval: request.id } })).rendered;
  expect(shown).toContain("onerror");
  expect(await page.locator("#rendered").textContent()).toBe(shown);
  expect(await page.locator("#rendered :not(span.line)").count()).toBe(0);
  expect(await page.title()).toBe("Decide · Countersign");

  // Enrolled with the keyboard alone; not confirmed yet, it is not offered, and what it signs is refused.
  await page.goto(`${origin}/keys`);
  await page.keyboard.type(rita.token);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Enrol a passkey" }).focus();
  await page.keyboard.press("Enter");
  await says(page, /waiting for an admin to confirm/);
  const [key] = (await amir.client.listKeys({ query: { state: "proposed" } })).keys;
  expect(key).toMatchObject({ principal: "rita", kind: "webauthn", passkey: { origin, rpId: "localhost" } });
  const early = await assertionIn(page, rita, request, key?.passkey?.credentialId ?? "");
  const decide = (body: object, as = rita) =>
    as.client.decideApproval({
      params: { approval: request.id },
      body: { ...early, keyId: key?.keyId, ...body } as never,
    });
  await expect(decide({})).rejects.toMatchObject({ code: "key_unconfirmed" });

  // An admin confirms it in his own browser.
  const admins = await openPage(`${origin}/keys`);
  admins.on("dialog", (dialog) => void dialog.accept());
  await signIn(admins, amir.token);
  await admins.getByRole("button", { name: /^Confirm the passkey/ }).click();
  await says(admins, new RegExp(`Confirmed: ${key?.keyId ?? "?"}`));

  // Who was not verified cannot sign: the authenticator refuses, and its owner is told in words.
  await page.goto(`${origin}/approve/${request.id}`);
  await signIn(page, rita.token);
  await authenticator.verify(false);
  await page.getByRole("button", { name: "Approve with passkey" }).click();
  await says(page, /no passkey was used/i);
  // Nor where the page does not ask for it: then the server refuses.
  const unverified = await assertionIn(page, rita, request, key?.passkey?.credentialId ?? "", "discouraged");
  await expect(decide(unverified)).rejects.toMatchObject({
    code: "signature_invalid",
    message: expect.stringMatching(/not verified/) as string,
  });
  await authenticator.verify(true);

  // A key file does not do, on the command line either.
  const file = await world.reviewer("rick");
  await expect(file.decide(request, "approve")).rejects.toMatchObject({ code: "passkey_needed" });
  expect(await world.states(run)).toEqual(["scripted/test:done", "pay:waiting"]);

  await page.getByRole("button", { name: "Approve with passkey" }).click();
  await says(page, /Approved as rita/);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await world.states(run)).toEqual(["scripted/test:done", "pay:done", "scripted/test:done"]);

  // Sent again, for this request or for another, it does nothing more.
  await expect(decide({})).resolves.toMatchObject({ recorded: false });
  const other = await world.request(await world.start());
  const replayed = rita.client.decideApproval({
    params: { approval: other.id },
    body: { ...early, keyId: key?.keyId ?? "" } as never,
  });
  await expect(replayed).rejects.toMatchObject({ code: "statement_invalid" });
  const { statement } = await assertionIn(page, rita, other, "none");
  await expect(
    rita.client.decideApproval({
      params: { approval: other.id },
      body: { ...early, statement, keyId: key?.keyId } as never,
    }),
  ).rejects.toMatchObject({ code: "signature_invalid", message: expect.stringMatching(/another statement/) as string });

  // All of it is evidence: the record verifies, and stops to where any part of the signature or the enrolment is another.
  const record = await until(async () => {
    const found = await amir.client.runRecord({ params: { run } });
    return found.keys?.entries.every(({ proof }) => proof !== undefined) === true ? found : undefined;
  });
  const { verifierKey } = await amir.client.verifierKey({ params: { log: "testers" } });
  expect(verifyRun(record, verifierKey).checks.filter(({ status }) => status !== "passed")).toEqual([]);
  const failedBy = (tamper: (record: Mutable) => void): readonly string[] => {
    const copy = structuredClone(record) as unknown as Mutable;
    tamper(copy);
    return verifyRun(copy as never, verifierKey).checks.flatMap((one) => (one.status === "failed" ? [one.name] : []));
  };
  expect(failedBy((copy) => (passkeyIn(copy).authenticatorData = passkeyIn(copy).clientDataJSON))).toContain(
    "approvals",
  );
  expect(failedBy((copy) => (passkeyIn(copy).origin = url))).toEqual(expect.arrayContaining(["approvals", "keys"]));
  // What is kept of the answer and not signed by the passkey is bound by the ledger's entry.
  expect(failedBy((copy) => (passkeyIn(copy).userHandle = "bWFsbG9yeQ"))).toEqual(["join"]);
  expect(failedBy((copy) => delete copy.approvals[0]?.decisions[0]?.passkey)).toEqual(
    expect.arrayContaining(["approvals", "join", "keys"]),
  );
  expect(failedBy((copy) => copy.keys.entries.pop())).toEqual(["keys"]);
});

test("the page shows what the call came from and why it is asked, all of it as text; untrusted words are marked", async () => {
  const { world, origin, person } = await createSite({
    before: [{ text: `see ${hostile}`, calls: [{ tool: "look", arguments: { thing: hostile } }] }],
  });
  await world.work();
  const rita = await person("rita", ["reviewer"], ["treasury"]);
  const earlier = await world.request(await world.start());
  await world.pool.query("update approval_request set state = 'denied', decided_at = now() where id = $1", [
    earlier.id,
  ]);
  const request = await world.request(await world.start());
  await rita.client.askApproval({ params: { approval: request.id }, body: { text: `Why ${hostile}?` } });
  const page = await openPage(`${origin}/approve/${request.id}`);
  await page.setViewportSize({ width: 1000, height: 900 });
  await signIn(page, rita.token);
  await page.getByRole("heading", { name: "pay in testers" }).waitFor();
  const { context, messages } = await rita.client.showApproval({ params: { approval: request.id } });
  const textsOf = (selector: string) => page.locator(selector).allTextContents();

  expect(await textsOf("#facts dd")).toContain("1 of treasury, signed with a passkey (policy pay-needs-a-passkey)");
  expect(await textsOf("#reasons li")).toEqual([
    "payments need a passkey (policy pay-needs-a-passkey)",
    ...context.flags,
  ]);
  expect(await textsOf("#sources tr:nth-child(1) td")).toEqual([
    "to",
    context.sources[0]?.value,
    "untrusted text",
    "untrusted result of step 1 (look)",
  ]);
  expect(await textsOf("#sources tr:nth-child(2) td")).toEqual([
    "amount_cents",
    "6000",
    "made by the model",
    "nowhere: the model made it",
  ]);
  expect(await textsOf("#conversation pre")).toEqual(context.conversation.map(({ text }) => text));
  expect(await textsOf("#conversation li.untrusted .by")).toEqual([
    "model, step 0 untrusted",
    "Tool look, step 1 untrusted",
    "model, step 2 untrusted",
  ]);
  expect(await textsOf("#messages pre")).toEqual(messages.map(({ text }) => text));
  expect(await textsOf("#similar li")).toEqual(["So far: 1 denied", expect.stringContaining(earlier.id)]);
  expect(await page.locator("#cost").textContent()).toMatch(/^4 of 40 steps, \$\d/);

  // None of it became markup, whoever wrote it.
  expect(await page.locator("main :is(img, script)").count()).toBe(0);
  expect(
    await page.locator("#conversation pre *, #messages pre *, #sources td :not(span.value), #reasons li *").count(),
  ).toBe(0);
  // On a phone, nothing is beyond its edge.
  await page.setViewportSize({ width: 380, height: 800 });
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(380);
  expect(await page.title()).toBe("Decide · Countersign");
  if (process.env["TEST_SCREENSHOTS"] !== undefined)
    await page.screenshot({ path: `${process.env["TEST_SCREENSHOTS"]}/approve.png`, fullPage: true });
});

type Mutable = {
  approvals: {
    decisions: { passkey?: Record<"authenticatorData" | "clientDataJSON" | "origin" | "userHandle", string> }[];
  }[];
  keys: { entries: unknown[] };
};
const passkeyIn = (copy: Mutable) => {
  const passkey = copy.approvals[0]?.decisions[0]?.passkey;
  if (passkey === undefined) throw new Error("nobody signed with a passkey");
  return passkey;
};

test("a grant given ahead is read whole and approved on its page, with a delegate's passkey; a run that used it is proved so", async () => {
  const keyFilePolicy = policy.replace(' @signed("passkey")', "");
  const { world, url, origin, person } = await createSite({ policy: keyFilePolicy, to: "ada" });
  await world.work();
  const [rita, rick, lea, amir] = [
    await person("rita", ["reviewer"], ["treasury"]),
    await person("rick", ["reviewer"], ["treasury"]),
    await person("lea", ["reviewer"], ["legal"]),
    await person("amir", ["admin"], []),
  ];
  const keys = await openPage(`${origin}/keys`);
  await addAuthenticator(keys);
  await signIn(keys, lea.token);
  await keys.getByRole("button", { name: "Enrol a passkey" }).click();
  await says(keys, /waiting for an admin/);
  const [passkey] = (await amir.client.listKeys({ query: { state: "proposed" } })).keys;
  await amir.client.confirmKey({ params: { key: passkey?.keyId ?? "" } as never });
  const { privateKey } = await world.reviewer("rita");
  const request = (await world.request(await world.start())).id;
  const draft = await rita.client.draftStanding({
    body: {
      request,
      targets: [{ argument: "to", is: "ada" }],
      unconstrained: ["slow_ms"],
      sum: { argument: "amount_cents", max: 20_000 },
      uses: 2,
      until: new Date(Date.now() + 86_400_000).toISOString(),
      reason: hostile,
    },
  });
  const own = await signStatementOf(rita.client, draft.statement, {}, privateKey);
  const { grant } = await rita.client.proposeStanding({ body: { ...own.body, terms: draft.terms as never, request } });
  const lent = (days: number) =>
    rick.client.delegate({
      body: { delegate: "lea", until: new Date(Date.now() + days * 86_400_000).toISOString(), reason: "on leave" },
    });

  await keys.getByRole("link", { name: "Grants" }).click();
  await signIn(keys, lea.token);
  await keys.getByRole("link", { name: "pay by testers/tester" }).click();
  await signIn(keys, lea.token);
  await keys.getByText("UNCONSTRAINED").waitFor();
  const shown = await keys.locator("#grant").innerText();
  for (const text of [
    `"to"\nis "ada"`,
    "20000 at the most",
    "2 at the most",
    `"slow_ms"\nUNCONSTRAINED`,
    grant.terms.until,
  ])
    expect(shown).toContain(text);
  expect(shown).toContain(String.raw`\u{202e}ada`);
  expect(shown).not.toContain("\u202e");
  expect(await keys.locator("#terms img, #terms script").count()).toBe(0);
  const approve = keys.getByRole("button", { name: "Approve with passkey" });
  await approve.click();
  await says(keys, /takes a member of `treasury`/);
  const short = await lent(0.5);
  await approve.click();
  await says(keys, /no delegation to you is for such a grant/);
  await rick.client.undelegate({ params: { delegation: short.delegation.id } });
  const { delegation } = await lent(2);
  await approve.click();
  await says(keys, /Approved as lea. It is active/);
  expect(await keys.locator("#approvals").innerText()).toMatch(/lea for rick \(treasury\), with a passkey/);
  expect(await approve.isHidden()).toBe(true);

  const run = await world.start();
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  await rick.client.undelegate({ params: { delegation: delegation.id } });
  expect(await world.request(await world.start())).toMatchObject({ state: "pending" });

  const record = await until(async () => {
    const found = await amir.client.runRecord({ params: { run } });
    const all = [...(found.keys?.entries ?? []), ...(found.ledger.seals ?? [{ proof: undefined }])];
    return all.every(({ proof }) => proof !== undefined) ? (found as RunRecord) : undefined;
  });
  const { verifierKey } = await amir.client.verifierKey({ params: { log: "testers" } });
  expect(verifyRun(record, verifierKey).checks.filter(({ status }) => status !== "passed")).toEqual([]);
  type Given = NonNullable<RunRecord["standingGrants"]>[number]["approvals"][number];
  const failedBy = (change: (given: Given) => object): readonly string[] => {
    const [used] = record.standingGrants ?? [];
    const approvals = used?.approvals.map((one) => (one.reviewer === "lea" ? { ...one, ...change(one) } : one));
    const changed = { ...record, standingGrants: [{ ...used, approvals }] } as unknown as RunRecord;
    return verifyRun(changed, verifierKey).checks.flatMap(({ status, problems }) =>
      status === "failed" ? problems : [],
    );
  };
  const lendsLess = (change: object) => (given: Given) => ({ delegation: { ...given.delegation, ...change } });
  for (const [change, problem] of [
    [() => ({ passkey: undefined }), "the key signs in another way|the signature does not verify"],
    [({ passkey: of }) => ({ passkey: { ...of, userHandle: "bWFsbG9yeQ" } }), "`assertion` is"],
    [() => ({ delegation: undefined }), "`delegation` is"],
    [lendsLess({ delegator: "rita" }), "`delegator` is"],
    [lendsLess({ person: "rita" }), "fewer people of the groups"],
    [lendsLess({ person: "operator" }), "by who asked for the run"],
    [lendsLess({ tool: "look" }), "does not cover it"],
    [lendsLess({ maxAmount: 30_000 }), "does not cover it"],
    [lendsLess({ until: grant.terms.from }), "does not cover it"],
  ] as readonly (readonly [(given: Given) => object, string])[])
    expect(failedBy(change)).toContainEqual(expect.stringMatching(problem));
  // Ended before the use, as the log of people would have it then.
  const ended = delegationProblemsAhead(
    { approvals: record.standingGrants?.[0]?.approvals ?? [], uses: [{ at: new Date().toISOString() }] as never },
    record.keys?.entries.map(({ index, leaf }) => ({ index, entry: JSON.parse(leaf) as LedgerEntry })) ?? [],
    [],
  );
  expect(ended.map(({ problem }) => problem)).toEqual(["it was ended before the grant was used"]);

  // Offline, by two verifiers.
  const env = { COUNTERSIGN_URL: url, COUNTERSIGN_TOKEN: amir.token, COUNTERSIGN_HOME: world.folder };
  const [bundle, trust] = [join(world.folder, "evidence"), join(world.folder, "trust.json")];
  expect(await countersign(["audit", "trust", "init", "-o", trust], env)).toMatchObject({ code: 0 });
  expect(await countersign(["audit", "export", run, "-o", bundle, "--whole-log"], env)).toMatchObject({ code: 0 });
  const verified = await countersign(["verify", bundle, "--trust", trust], env);
  expect(verified.stdout).not.toMatch(/^(FAILED|REFUTED)/m);
  expect(verified.stdout).toMatch(/ok +enrolment/);
  if (!hasPython) return;
  const reader = startSecondReader();
  const second = await reader.ask(bundle, JSON.parse(await readFile(trust, "utf8")) as Trust, []);
  reader.stop();
  expect(second.why).toBeUndefined();
});

test("another origin can neither frame the pages, nor ask for anything", async () => {
  const { origin, url, person } = await createSite();
  const rita = await person("rita", ["reviewer"], ["treasury"]);
  const evil = await servePage(
    `<!doctype html><title>evil</title><iframe src="${origin}/keys" allow="publickey-credentials-get *"></iframe>`,
  );
  const page = await browser.newPage();
  onTestFinished(() => page.close());
  await page.goto(evil);
  await until(async () => (page.frames().some((frame) => frame.url().startsWith("chrome-error:")) ? true : undefined));
  expect(page.frames().some((frame) => frame.url().startsWith(origin))).toBe(false);

  // With a stolen token and no preflight needed, a browser still says where the request comes from.
  const status = await page.evaluate(
    async ([target, token]) => {
      const headers = { authorization: `Bearer ${token ?? ""}` };
      const answer = await fetch(target ?? "", { method: "POST", headers }).catch(() => undefined);
      return answer?.status ?? "blocked";
    },
    [`${origin}/v1/keys/passkey/options`, rita.token],
  );
  expect(status).toBe("blocked");
  for (const [name, value] of [
    ["origin", evil],
    ["origin", "null"],
    ["sec-fetch-site", "same-site"],
  ] as const) {
    const answer = await fetch(`${url}/v1/keys/passkey/options`, {
      method: "POST",
      headers: { [name]: value, authorization: `Bearer ${rita.token}` },
    });
    expect([answer.status, await answer.json()]).toMatchObject([403, { error: { code: "origin_not_allowed" } }]);
  }
  for (const path of ["/keys", "/approve", "/pages/keys.js", "/pages/simplewebauthn/index.js"]) {
    const answer = await fetch(`${url}${path}`);
    expect(answer.status).toBe(200);
    const csp = answer.headers.get("content-security-policy") ?? "";
    expect(csp).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(csp).not.toContain("unsafe");
  }
  for (const path of ["/pages/tsconfig.json", "/pages/../pages.ts", "/pages/%2e%2e/server.ts", "/approve/apr_no"]) {
    expect((await fetch(`${url}${path}`)).status).toBe(404);
  }
});

test("a passkey of a virtual authenticator, or made in a frame, is not taken", async () => {
  const { origin, person } = await createSite({ virtualAuthenticators: false });
  const rita = await person("rita", ["reviewer"], []);
  const page = await openPage(`${origin}/keys`);
  const authenticator: Authenticator = await addAuthenticator(page);
  await signIn(page, rita.token);
  await page.getByRole("button", { name: "Enrol a passkey" }).click();
  await says(page, /virtual authenticator/);
  expect(await authenticator.credentials()).toHaveLength(1);
  expect((await rita.client.listKeys({})).keys).toEqual([]);
});

test("the command line proposes, confirms and lists keys, and says where to go with a passkey", async () => {
  const { world, url, origin, person } = await createSite();
  await world.work();
  const [rita, amir] = [await person("rita", ["reviewer"], ["treasury"]), await person("amir", ["admin"], [])];
  const request = await world.request(await world.start());
  const command = (who: { readonly token: string }, ...args: string[]) =>
    countersign([...args, "--json"], {
      COUNTERSIGN_URL: url,
      COUNTERSIGN_TOKEN: who.token,
      COUNTERSIGN_KEY_FILE: join(world.folder, "rita.pem"),
      COUNTERSIGN_HOME: world.folder,
    });
  const enrolled = await command(rita, "keys", "enrol");
  const { key } = documentOf<{ key: { keyId: string; state: string } }>(enrolled);
  expect(key.state).toBe("proposed");
  const [approve, own, unasked] = await Promise.all([
    command(rita, "approvals", "approve", request.id, "--yes"),
    command(rita, "keys", "confirm", key.keyId, "--yes"),
    command(amir, "keys", "confirm", key.keyId),
  ]);
  expect([approve.code, errorIn(approve)]).toMatchObject([
    1,
    { code: "passkey_needed", hint: expect.stringContaining(`${origin}/approve/${request.id}`) as string },
  ]);
  expect([own.code, errorIn(own).code]).toEqual([1, "forbidden"]);
  expect([unasked.code, errorIn(unasked).code]).toEqual([1, "not_confirmed"]);
  expect(await command(amir, "keys", "confirm", key.keyId, "--yes")).toMatchObject({ code: 0 });
  const [listed, revoked] = [
    await command(amir, "keys", "list", "--state", "active"),
    await command(rita, "keys", "revoke", key.keyId, "--yes"),
  ];
  expect(documentOf(listed)).toMatchObject({ keys: [{ keyId: key.keyId, confirmedBy: "amir" }] });
  expect(documentOf(revoked)).toMatchObject({ revoked: true, key: { state: "revoked" } });
});

/** A server with all that a run needs, under an address that browsers make passkeys for. */
async function createSite({
  virtualAuthenticators = true,
  before = [] as readonly ScriptedTurn[],
  to = hostile,
  policy: own = policy,
} = {}) {
  const world = await createWorld({
    policy: own,
    turns: [...before, { calls: [{ tool: "pay", arguments: { to, amount_cents: 6_000 } }] }, { text: "done" }],
  });
  const errors: unknown[] = [];
  const ledger = sequencedLedger(world.pool, (error) => void errors.push(error));
  const server = testServer({
    pool: world.pool,
    databaseUrl: world.databaseUrl,
    temporal: world.client,
    taskQueue: world.taskQueue,
    ledger,
    virtualAuthenticators,
  });
  const { url, port } = await server.start(0);
  onTestFinished(async () => {
    await server.stop();
    expect(errors).toEqual([]);
  });
  return {
    world,
    url,
    origin: `http://localhost:${port}`,
    person: async (id: string, roles: readonly Role[], groups: readonly string[]) => {
      const token = newToken();
      await putPrincipal(world.pool, { id, displayName: id, roles, groups }, hashToken(token));
      return { id, token, client: createClient({ baseUrl: url, token }) };
    },
  };
}

async function openPage(url: string): Promise<Page> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel("Your token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function says(page: Page, text: RegExp): Promise<void> {
  await page.getByRole("status").filter({ hasText: text }).waitFor({ timeout: 20_000 });
}

/** A signature on an approval, as a page that asks for less would get it. */
async function assertionIn(
  page: Page,
  reviewer: { readonly id: string; readonly client: ApiClient },
  request: ApprovalRequest,
  credentialId: string,
  userVerification: "required" | "discouraged" = "required",
) {
  const { statement: facts } = await reviewer.client.showApproval({ params: { approval: request.id } });
  const { statementText, challengeOf } = await import("../../src/approvals/index.ts");
  const statement = statementText({
    ...facts,
    decision: "approve",
    reviewer: reviewer.id,
    reason: "",
    issuedAt: new Date().toISOString(),
  });
  if (credentialId === "none") return { statement };
  const options = {
    challenge: challengeOf(statement),
    rpId: "localhost",
    userVerification,
    allowCredentials: [{ id: credentialId, type: "public-key" }],
  };
  // As text: what runs in the page is not to be rewritten for here.
  const signed = await page.evaluate<
    Record<"credentialId" | "signature" | "authenticatorData" | "clientDataJSON", string>
  >(
    `import("/pages/simplewebauthn/index.js")
       .then(({ startAuthentication }) => startAuthentication({ optionsJSON: ${JSON.stringify(options)} }))
       .then(({ id, response: { signature, authenticatorData, clientDataJSON } }) =>
         ({ credentialId: id, signature, authenticatorData, clientDataJSON }))`,
  );
  return { kind: "webauthn", statement, ...signed };
}

async function servePage(html: string): Promise<string> {
  const server = createHttpServer((_request, response) => response.setHeader("content-type", "text/html").end(html));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}
