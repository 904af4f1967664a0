import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  keyIdOf,
  parseStatement,
  publicKeyOf,
  signStatement,
  statementText,
  verifyStatement,
} from "../../src/approvals/index.ts";
import type { ApprovalStatement } from "../../src/approvals/index.ts";
import { isPublicKey } from "../../src/approvals/statement.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";

const pem = (): string => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const privateKey = pem();
const publicKey = publicKeyOf(privateKey);

const statement: ApprovalStatement = {
  v: 1,
  type: "countersign/approval/v1",
  request: "apr_01JZZZZZZZZZZZZZZZZZZZZZZZ" as ApprovalId,
  team: "shop",
  run: "run_01JZZZZZZZZZZZZZZZZZZZZZZZ" as RunId,
  seq: 3,
  action: "a".repeat(64) as Digest,
  rendered: "b".repeat(64) as Digest,
  policySet: "c".repeat(64) as Digest,
  decision: "approve",
  reviewer: "rita",
  reason: "café \u202e ok",
  nonce: "n".repeat(24),
  issuedAt: "2026-01-02T03:04:05.006Z",
  expiresAt: "2026-01-03T03:04:05.006Z",
};
const text = statementText(statement);
const signature = signStatement(text, privateKey);

describe("a signed statement", () => {
  test("is read back as it was, and verified by anyone with the public key, without this code", () => {
    expect(parseStatement(text)).toEqual(statement);
    expect(verifyStatement(text, signature, publicKey)).toBe(true);
    const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), type: "spki", format: "der" });
    const signed = Buffer.concat([Buffer.from("countersign/approval/v1\n"), Buffer.from(text)]);
    expect(verify(null, signed, key, Buffer.from(signature, "base64"))).toBe(true);
    expect(keyIdOf(publicKey)).toBe(createHash("sha256").update(Buffer.from(publicKey, "base64")).digest("hex"));
  });

  test.each(
    Object.entries({
      request: "apr_01JZZZZZZZZZZZZZZZZZZZZZZ0",
      team: "shop2",
      run: "run_01JZZZZZZZZZZZZZZZZZZZZZZ0",
      seq: 4,
      action: "d".repeat(64),
      rendered: "d".repeat(64),
      policySet: "d".repeat(64),
      decision: "deny",
      reviewer: "rick",
      reason: "",
      nonce: "m".repeat(24),
      issuedAt: "2026-01-02T03:04:05.007Z",
      expiresAt: "2027-01-03T03:04:05.006Z",
    }),
  )("does not verify with another `%s`", (field, value) => {
    const changed = { ...statement, [field]: value } as ApprovalStatement;
    expect(parseStatement(statementText(changed))).toEqual(changed);
    expect(verifyStatement(statementText(changed), signature, publicKey)).toBe(false);
  });

  test("does not verify under another key, without its domain, or in another spelling", () => {
    expect(verifyStatement(text, signature, publicKeyOf(pem()))).toBe(false);
    const bare = sign(null, Buffer.from(text), createPrivateKey(privateKey)).toString("base64");
    expect(verifyStatement(text, bare, publicKey)).toBe(false);
    const flipped = Buffer.from(signature, "base64");
    flipped[5] = (flipped[5] ?? 0) ^ 1;
    const bytes = Buffer.from(signature, "base64");
    const others = [
      flipped.toString("base64"),
      "",
      `${signature}\n`,
      ` ${signature}`,
      bytes.toString("hex"),
      bytes.toString("base64url"),
      `${signature}AAAA`,
    ];
    expect(others.filter((other) => verifyStatement(text, other, publicKey))).toEqual([]);
    for (const key of ["", "AAAA", privateKey]) expect(verifyStatement(text, signature, key)).toBe(false);
  });
});

describe("only the canonical form of version 1 is a statement", () => {
  const { reason: _, ...withoutReason } = statement;
  test.each([
    ["no JSON", "approve"],
    ["no object", "[]"],
    ["a space", text.replace(",", ", ")],
    ["keys in another order", JSON.stringify(Object.fromEntries(Object.entries(statement).toReversed()))],
    ["a key given twice", text.replace('"decision":"approve"', '"decision":"deny","decision":"approve"')],
    ["an escape that need not be", text.replace("shop", "\\u0073hop")],
    ["a number in another spelling", text.replace('"seq":3', '"seq":3.0')],
    ["an unknown field", JSON.stringify({ ...statement, amount: 1 })],
    ["a missing field", JSON.stringify(withoutReason)],
    ["another version", text.replace('"v":1', '"v":2')],
    ["another type", text.replace("approval/v1", "approval/v2")],
    ["another decision", text.replace('"approve"', '"maybe"')],
    ["a time without its zone", text.replace("03:04:05.006Z", "03:04:05.006")],
    ["a short nonce", text.replace("n".repeat(24), "n")],
    ["an upper-case digest", text.replace("a".repeat(64), "A".repeat(64))],
  ])("%s is not", (_name, other) => {
    expect(other).not.toBe(text);
    expect(() => parseStatement(other)).toThrow(expect.objectContaining({ code: "statement_malformed" }));
  });
});

test("only an Ed25519 key in its one spelling is a reviewer's key", () => {
  expect(isPublicKey(publicKey)).toBe(true);
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
  const others = [
    p256.export({ type: "spki", format: "der" }).toString("base64"),
    `${publicKey}\n`,
    publicKey.slice(0, -4),
    "",
    "AAAA",
  ];
  expect(others.filter(isPublicKey)).toEqual([]);
});
