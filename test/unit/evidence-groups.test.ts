import { expect, test } from "vitest";

import { checkEnrolment } from "../../src/audit/offline/enrolment.ts";
import { Enrolments, isEnrolment } from "../../src/audit/offline/enrolments.ts";
import { Findings } from "../../src/audit/offline/findings.ts";
import type { Leaf } from "../../src/audit/offline/in-toto.ts";
import { parseTrust, trustFormat } from "../../src/audit/offline/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import type { LedgerFacts } from "../../src/core/ledger-event.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { sha256 } from "../../src/store/canonical.ts";

const keyOf = (name: string) => Buffer.from(`key of ${name}`).toString("base64");
const idOf = (name: string) => sha256(Buffer.from(keyOf(name), "base64"));

type Approval = { readonly by: string; readonly person?: string; readonly after?: number; readonly forAnother?: true };

/** What an auditor who knows Ada in treasury and Bob in legal finds of approvals; and whether they could tell of groups at all. */
function found(asks: Partial<ApprovalRequirement>, approvals: readonly Approval[]) {
  const opened = Date.parse("2026-01-01T00:00:00Z");
  const requirement = { policy: "p", group: "treasury", quorum: 1, expiresMs: 1e9, ...asks };
  const decisions = approvals.map(({ by, person = by, after = 0, forAnother }) => ({
    reviewer: by,
    decision: "approve",
    statement: "{}",
    keyId: idOf(by),
    publicKey: keyOf(by),
    signature: "",
    capacity: {
      at: new Date(opened + after).toISOString(),
      person,
      groups: [],
      ...(forAnother === undefined ? {} : { delegation: { id: "d", delegator: "eve", person: "eve" } }),
    },
  }));
  const openedAt = new Date(opened).toISOString();
  const request = {
    id: "a",
    seq: 0,
    state: "consumed",
    requirements: [requirement],
    openedAt,
    expiresAt: "2099",
    decisions,
  };
  const record = { run: { id: "r", requestedBy: "carol" }, approvals: [request] } as unknown as RunRecord;
  const known = { ada: ["treasury"], ada2: ["treasury"], bob: ["legal"] };
  const approvers = Object.entries(known).map(([principal, groups]) => {
    return { principal, keyId: idOf(principal), publicKey: keyOf(principal), groups };
  });
  const findings = new Findings();
  const trust = parseTrust(JSON.stringify({ format: trustFormat, logs: {}, approvers }));
  const { groupsKnown } = checkEnrolment(record, [], undefined, trust, findings);
  return [groupsKnown, ...findings.check("approvals", "").findings.map(({ code }) => code)];
}

/** The log of people of a bundle: whether a delegate had been given the right. */
function delegated(...people: readonly { readonly kind: string; readonly at: number; readonly facts: LedgerFacts }[]) {
  const time = (ms: number) => new Date(Date.parse("2026-01-01T00:00:00Z") + ms).toISOString();
  const terms = { delegator: "eve", team: null, tool: null, maxAmount: null, from: time(0), until: time(100) };
  const delegation = { id: "dlg_1", person: "eve", ...terms };
  const signed = {
    reviewer: "bob",
    decision: "approve",
    statement: "{}",
    keyId: idOf("bob"),
    publicKey: keyOf("bob"),
    signature: "",
    capacity: { at: time(10), person: "bob", groups: ["treasury"], delegation },
  };
  const leaf = (kind: string, at: number, facts: LedgerFacts, index = 0) =>
    ({ index, leaf: "", entry: { v: 1, kind, log: "people", dedupKey: "", at: time(at), facts } }) as unknown as Leaf;
  const enrolled = leaf("approver.key.added", 0, { keyId: idOf("bob"), principal: "bob", publicKey: keyOf("bob") });
  const rows = people.map(({ kind, at, facts }, index) => leaf(kind, at, facts, index + 1));
  const approver = { principal: "bob", keyId: idOf("bob"), publicKey: keyOf("bob") };
  const trust = parseTrust(JSON.stringify({ format: trustFormat, logs: {}, approvers: [approver] }));
  const enrolments = new Enrolments(
    [enrolled, ...rows].filter(({ entry }) => isEnrolment(entry)),
    true,
    1 + rows.length,
  );
  const problems = (as: "decisions" | "edits") => {
    const decisions = as === "decisions" ? [signed] : [];
    const request = { id: "a", seq: 0, state: "denied", requirements: [], expiresAt: "2099", decisions };
    const edits = as === "edits" ? [{ ...signed, request: "a" }] : [];
    const record = { run: { id: "r", requestedBy: "carol" }, approvals: [request], edits } as unknown as RunRecord;
    const kind = as === "edits" ? "approval.edited" : "approval.approved";
    const findings = new Findings();
    checkEnrolment(record, [leaf(kind, 10, { approval: "a", reviewer: "bob" })], enrolments, trust, findings);
    return findings.check("enrolment", "").findings.map(({ code, message }) => `${code}: ${message}`);
  };
  const found = problems("decisions");
  // Who changes a call for somebody else is asked the same.
  expect(problems("edits")).toEqual(found);
  return found;
}

test("a delegate's approval has a delegation in the log of people that was in force, or refutes the bundle", () => {
  const from = "2026-01-01T00:00:00.000Z";
  const until = "2026-01-01T00:00:00.100Z";
  const facts = { delegation: "dlg_1", delegator: "eve", delegate: "bob", from, until, by: "eve" };
  const granted = (change: LedgerFacts = {}, at = 5) => ({
    kind: "delegation.granted",
    at,
    facts: { ...facts, ...change },
  });
  const ended = (at: number) => ({ kind: "delegation.revoked", at, facts });
  expect(delegated(granted())).toEqual([]);
  expect(delegated(granted(), ended(11))).toEqual([]);
  for (const [people, problem] of [
    [[], "granted 0 times"],
    [[granted({ delegation: "dlg_2" })], "granted 0 times"],
    [[granted({ delegate: "ada" })], "`delegate`"],
    [[granted({ tool: "look" })], "`tool`"],
    [[granted({}, 11)], "granted after it was used"],
    [[granted(), ended(10)], "ended before it was used"],
  ] as const) {
    const [first, ...others] = delegated(...people);
    expect(first).toMatch(/^delegation_unfounded: delegation `dlg_1`/);
    expect(first).toContain(problem);
    expect(others).toEqual([]);
  }
});

test.each([
  ["of the group", {}, [{ by: "ada" }], [true]],
  ["of another", {}, [{ by: "bob" }], [true, "not_in_group"]],
  ["of the other that may as well", { orGroups: ["legal"] }, [{ by: "bob" }], [true]],
  ["of one that it was escalated to", { escalate: { afterMs: 5, to: ["legal"] } }, [{ by: "bob", after: 5 }], [true]],
  [
    "of that one too early",
    { escalate: { afterMs: 5, to: ["legal"] } },
    [{ by: "bob", after: 4 }],
    [true, "not_in_group"],
  ],
  ["too few", { quorum: 2 }, [{ by: "ada" }], [true, "quorum_not_met"]],
  ["one person's two accounts", { quorum: 2 }, [{ by: "ada" }, { by: "ada2", person: "ada" }], [true, "not_in_group"]],
  ["two people", { quorum: 2 }, [{ by: "ada" }, { by: "ada2" }], [true]],
  ["for somebody else, whose groups nobody told", {}, [{ by: "bob", forAnother: true }], [false]],
  ["of nobody that the auditor knows", {}, [{ by: "mallory" }], [false]],
] as const)("an approval %s", (_, asks, approvals, expected) => {
  expect(found(asks, approvals)).toEqual(expected);
});
