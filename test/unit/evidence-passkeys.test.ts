import { expect, test } from "vitest";

import { checkEnrolment } from "../../src/audit/offline/enrolment.ts";
import { Enrolments } from "../../src/audit/offline/enrolments.ts";
import { Findings } from "../../src/audit/offline/findings.ts";
import { parseTrust, trustFormat } from "../../src/audit/offline/index.ts";
import type { Leaf } from "../../src/audit/offline/index.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { sha256 } from "../../src/store/canonical.ts";

const publicKey = Buffer.from("a key").toString("base64");
const keyId = sha256(Buffer.from(publicKey, "base64"));
const passkey = { credentialId: "cred", rpId: "shop.example", origin: "https://shop.example" };

const leaf = (kind: string, at: string, facts: Record<string, string>): Leaf =>
  ({ index: 0, leaf: "", entry: { v: 1, kind, log: "people", dedupKey: kind, at, facts } }) as unknown as Leaf;

/** What is found of one approval, signed with a passkey that was enrolled with `enrolled`. */
function codes(enrolled: Record<string, string>, rpIds?: readonly string[]): readonly string[] {
  const signed = { reviewer: "ada", decision: "approve", statement: "{}", keyId, publicKey, signature: "", passkey };
  const record = {
    run: { id: "run_1", requestedBy: "bob" },
    approvals: [{ id: "apr_1", seq: 0, state: "consumed", requirements: [], expiresAt: "2099", decisions: [signed] }],
  } as unknown as RunRecord;
  const trust = parseTrust(
    JSON.stringify({
      format: trustFormat,
      logs: {},
      approvers: [{ principal: "ada", keyId, publicKey }],
      ...(rpIds === undefined ? {} : { rpIds }),
    }),
  );
  const enrolments = new Enrolments(
    [leaf("approver.key.added", "2026-01-01", { principal: "ada", keyId, publicKey, ...enrolled })],
    true,
    1,
  );
  const decided = leaf("approval.approved", "2026-01-02", { approval: "apr_1", reviewer: "ada" });
  const findings = new Findings();
  checkEnrolment(record, [decided], enrolments, trust, findings);
  return (["approvals", "enrolment"] as const).flatMap((name) =>
    findings.check(name, "").findings.map(({ code }) => code),
  );
}

test.each([
  ["as it was enrolled", passkey, undefined, []],
  ["for a site that the auditor knows", passkey, ["shop.example"], []],
  ["for a site that the auditor does not know", passkey, ["bank.example"], ["key_untrusted"]],
  ["enrolled for another site", { ...passkey, rpId: "evil.example" }, undefined, ["key_of_another"]],
  ["enrolled for another origin", { ...passkey, origin: "https://evil.example" }, undefined, ["key_of_another"]],
  ["enrolled as another credential", { ...passkey, credentialId: "other" }, undefined, ["key_of_another"]],
  ["enrolled as a key file", {}, undefined, ["key_of_another"]],
] as const)("a passkey %s", (_, enrolled, rpIds, expected) => {
  expect(codes(enrolled, rpIds)).toEqual(expected);
});
