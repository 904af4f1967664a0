import { expect, test } from "vitest";

import { checkEnrolment } from "../../src/audit/offline/enrolment.ts";
import { Findings } from "../../src/audit/offline/findings.ts";
import { parseTrust, trustFormat } from "../../src/audit/offline/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
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
