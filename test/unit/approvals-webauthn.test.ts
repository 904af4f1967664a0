import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";

import { verifyAuthenticationResponse } from "@simplewebauthn/server";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  challengeOf,
  countsFor,
  keyIdOf,
  parseStatement,
  publicKeyOf,
  publicKeyOfCose,
  signatureFault,
  tally,
  signStatement,
  statementText,
} from "../../src/approvals/index.ts";
import type { SignedStatement, SigningKey } from "../../src/approvals/index.ts";
import { assertionFault } from "../../src/approvals/webauthn.ts";
import type { Assertion, AssertionTerms } from "../../src/approvals/webauthn.ts";

/** What a real Chromium and its authenticator signed: see `test/e2e/record-assertions.test.ts`. */
type Recorded = {
  readonly statement: string;
  readonly keys: Readonly<Record<string, AssertionTerms & { readonly cose: string }>>;
  readonly assertions: Readonly<Record<string, Assertion>>;
};
const recorded = JSON.parse(
  readFileSync(new URL("../vectors/webauthn/recorded.json", import.meta.url), "utf8"),
) as Recorded;
const { statement } = recorded;
const keyOf = (name: string) => recorded.keys[name]!;
const given = (name: string) => recorded.assertions[name]!;
const alice = keyOf("alice");

describe("what a real browser signed", () => {
  test.each([
    ["genuine", "alice"],
    ["byBob", "bob"],
    ["byDora", "dora"],
    ["byRob", "rob"],
    ["bySite", "carol"],
  ])("%s verifies as %s's, from what is kept alone", (assertion, key) => {
    expect(assertionFault(statement, given(assertion), keyOf(key))).toBeUndefined();
  });

  test.each([
    ["unverified", "alice", /not verified/],
    ["otherOrigin", "alice", /another origin/],
    ["framed", "alice", /frame/],
    ["byBob", "alice", /another passkey/],
  ])("%s is not %s's signature", (assertion, key, fault) => {
    expect(assertionFault(statement, given(assertion), keyOf(key))).toMatch(fault);
  });

  test("the library that the web has verified for years says the same of every one, with every key", async () => {
    for (const assertion of Object.values(recorded.assertions)) {
      for (const key of Object.values(recorded.keys)) {
        const { credentialId: id, ...response } = assertion;
        const verdict = await verifyAuthenticationResponse({
          response: { id, rawId: id, type: "public-key", response, clientExtensionResults: {} },
          expectedChallenge: challengeOf(statement),
          expectedOrigin: key.origin,
          expectedRPID: key.rpId,
          credential: { id: key.credentialId, publicKey: Buffer.from(key.cose, "base64url"), counter: 0 },
        }).catch(() => ({ verified: false }));
        expect(assertionFault(statement, { ...assertion, credentialId: key.credentialId }, key) === undefined).toBe(
          verdict.verified,
        );
      }
    }
  });

  test("is of this statement alone: whichever field is another, it is not signed", () => {
    const fields = parseStatement(statement);
    const changes = {
      request: `${fields.request}0`,
      seq: 4,
      action: "d".repeat(64),
      decision: "deny",
      reviewer: "bob",
    };
    for (const [name, value] of Object.entries({ ...changes, nonce: "m".repeat(24), reason: "", team: "bank" })) {
      const other = statementText({ ...fields, [name]: value } as never);
      expect([name, assertionFault(other, given("genuine"), alice)]).toEqual([name, "it signs another statement"]);
    }
    expect(assertionFault(`${statement} `, given("genuine"), alice)).toBe("it signs another statement");
  });

  test("does not survive a changed bit, another spelling, or what is no text at all", () => {
    const genuine = given("genuine");
    for (const part of ["authenticatorData", "clientDataJSON", "signature"] as const) {
      const bytes = Buffer.from(genuine[part], "base64url");
      for (let at = 0; at < bytes.length; at += 1) {
        const changed = Buffer.from(bytes);
        changed[at] = changed[at]! ^ 1;
        const assertion = { ...genuine, [part]: changed.toString("base64url") };
        expect([part, at, assertionFault(statement, assertion, alice) === undefined]).toEqual([part, at, false]);
      }
      for (const text of ["", `${genuine[part]}=`, `${genuine[part]} `, bytes.toString("base64"), null, 7, {}]) {
        if (text === genuine[part]) continue;
        expect(assertionFault(statement, { ...genuine, [part]: text as string }, alice)).toBeDefined();
      }
    }
  });
});

/** An authenticator of our own, whose every answer is signed well: so each rule below is refused for itself, not for its signature. */
const software = generateKeyPairSync("ec", { namedCurve: "P-256" });
const terms: AssertionTerms = {
  credentialId: "c29mdA",
  rpId: "countersign.example",
  origin: "https://countersign.example",
  publicKey: software.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
};
const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest();

function answer(
  change: { client?: object; flags?: number; rpId?: string; data?: Buffer; key?: KeyObject; hash?: string } = {},
): Assertion {
  const client = { type: "webauthn.get", challenge: challengeOf(statement), origin: terms.origin, ...change.client };
  const clientData = Buffer.from(JSON.stringify(client));
  const data =
    change.data ?? Buffer.concat([sha256(change.rpId ?? terms.rpId), Buffer.of(change.flags ?? 5, 0, 0, 0, 0)]);
  const signed = Buffer.concat([data, sha256(clientData)]);
  return {
    credentialId: terms.credentialId,
    authenticatorData: data.toString("base64url"),
    clientDataJSON: clientData.toString("base64url"),
    signature: sign(change.hash ?? "sha256", signed, change.key ?? software.privateKey).toString("base64url"),
  };
}

describe("what is signed well, and does not count", () => {
  test("counts where every part is as it should be, so that the refusals below mean something", () => {
    expect(assertionFault(statement, answer(), terms)).toBeUndefined();
    expect(assertionFault(statement, answer({ client: { crossOrigin: false, more: 1 } }), terms)).toBeUndefined();
  });

  test.each<[string, Parameters<typeof answer>[0], RegExp]>([
    ["of an enrolment", { client: { type: "webauthn.create" } }, /not made to sign/],
    ["of a payment", { client: { type: "payment.get" } }, /not made to sign/],
    ["of another challenge", { client: { challenge: challengeOf("{}") } }, /another statement/],
    ["without a challenge", { client: { challenge: undefined } }, /another statement/],
    ["of another origin", { client: { origin: "https://countersign.example.evil" } }, /another origin/],
    ["of the origin on another port", { client: { origin: `${terms.origin}:8443` } }, /another origin/],
    ["in a frame", { client: { crossOrigin: true } }, /frame/],
    ["in a frame, said with a text", { client: { crossOrigin: "true" } }, /frame/],
    ["in a frame that only the top origin tells of", { client: { topOrigin: terms.origin } }, /frame/],
    ["for another site", { rpId: "evil.example" }, /another site/],
    ["by nobody", { flags: 4 }, /nobody was present/],
    ["by a person who was not verified", { flags: 1 }, /not verified/],
    ["over data that is too short", { data: sha256(terms.rpId) }, /too short/],
    ["by another key", { key: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey }, /does not verify/],
    ["with another hash", { hash: "sha384" }, /does not verify/],
  ])("%s", (_, change, fault) => {
    expect(assertionFault(statement, answer(change), terms)).toMatch(fault);
  });

  test("with a key of a curve that no passkey here has", () => {
    const key = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    const publicKey = key.publicKey.export({ type: "spki", format: "der" }).toString("base64");
    expect(assertionFault(statement, answer({ key: key.privateKey }), { ...terms, publicKey })).toMatch(/verify/);
  });

  test("over client data that is no JSON object", () => {
    for (const text of ["", "[]", "null", "7", "{", "\ufeff{}"]) {
      const assertion = { ...answer(), clientDataJSON: Buffer.from(text).toString("base64url") };
      expect(assertionFault(statement, assertion, terms)).toBeDefined();
    }
  });
});

describe("a signature", () => {
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const publicKey = publicKeyOf(pem);
  const fileKey: SigningKey = { keyId: keyIdOf(publicKey), kind: "ed25519", publicKey, passkey: null };
  const byFile: SignedStatement = { statement, keyId: fileKey.keyId, signature: signStatement(statement, pem) };
  const passkey: SigningKey = {
    keyId: keyIdOf(alice.publicKey),
    kind: "webauthn",
    publicKey: alice.publicKey,
    passkey: alice,
  };
  const byPasskey: SignedStatement = { kind: "webauthn", statement, keyId: passkey.keyId, ...given("genuine") };

  test("is by the key that it names, in the way that this key signs", () => {
    expect(signatureFault(byFile, fileKey)).toBeUndefined();
    expect(signatureFault({ ...byFile, kind: "ed25519" }, fileKey)).toBeUndefined();
    expect(signatureFault(byPasskey, passkey)).toBeUndefined();
    const wrong: readonly (readonly [SignedStatement, SigningKey])[] = [
      [byFile, passkey],
      [byPasskey, fileKey],
      [{ ...byFile, keyId: passkey.keyId }, fileKey],
      [byFile, { ...fileKey, keyId: passkey.keyId }],
      // A key file that is said to be a passkey, and a passkey that is said to be a key file.
      [byFile, { ...fileKey, kind: "webauthn", passkey: alice }],
      [
        { ...byFile, kind: "webauthn", ...given("genuine") },
        { ...fileKey, kind: "webauthn", passkey: alice },
      ],
      [byPasskey, { ...passkey, kind: "ed25519" }],
      [byPasskey, { ...passkey, passkey: null }],
      [byPasskey, { ...passkey, passkey: { ...alice, origin: "https://elsewhere.example" } }],
      [byPasskey, { ...passkey, passkey: { ...alice, credentialId: keyOf("bob").credentialId } }],
    ];
    for (const [signed, key] of wrong) expect(signatureFault(signed, key)).toBeDefined();
  });

  test("counts for a requirement that asks for passkeys only where it is by one", () => {
    const asks = { policy: "p", group: "g", quorum: 2, expiresMs: 1, signed: "passkey" } as const;
    const vote = (reviewer: string, kind?: "ed25519" | "webauthn") =>
      ({ reviewer, decision: "approve", groups: ["g"], ...(kind === undefined ? {} : { kind }) }) as const;
    const votes = [vote("a", "webauthn"), vote("b", "ed25519"), vote("c"), vote("a", "webauthn")];
    expect(tally([asks], votes)).toEqual([1]);
    expect(tally([{ ...asks, signed: undefined } as never], votes)).toEqual([3]);
    expect(countsFor(asks, {})).toBe(false);
  });
});

describe("a passkey's public key", () => {
  test("is read from COSE as authenticators of each algorithm give it", () => {
    for (const { cose, publicKey } of Object.values(recorded.keys)) expect(publicKeyOfCose(cose)).toBe(publicKey);
  });

  test("is nothing else: cut, followed by something, of a short modulus, of another algorithm, or any bytes", () => {
    const malformed = expect.objectContaining({ code: "key_malformed" }) as unknown;
    const bytes = Buffer.from(alice.cose, "base64url");
    for (let length = 0; length < bytes.length; length += 1)
      expect(() => publicKeyOfCose(bytes.subarray(0, length).toString("base64url"))).toThrow(malformed as Error);
    expect(() => publicKeyOfCose(Buffer.concat([bytes, Buffer.of(0)]).toString("base64url"))).toThrow(
      malformed as Error,
    );
    const short = generateKeyPairSync("rsa", { modulusLength: 1_024 }).publicKey.export({ format: "jwk" });
    const n = Buffer.from(short.n ?? "", "base64url");
    const rsa = Buffer.concat([Buffer.from("a4010303390100205880", "hex"), n, Buffer.from("2143010001", "hex")]);
    expect(() => publicKeyOfCose(rsa.toString("base64url"))).toThrow(malformed as Error);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (any) => {
        expect(() => publicKeyOfCose(Buffer.from(any).toString("base64url"))).toThrow(malformed as Error);
      }),
    );
  });
});
