import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";

import { challengeOf } from "../../src/approvals/index.ts";
import type { Passkey, SignedStatement } from "../../src/approvals/index.ts";
import { keyIdOf } from "../../src/approvals/index.ts";

const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest();

/** An authenticator without a browser, for tests of what the server makes of its signatures. `count` is its counter. */
export function softwarePasskey(origin = "http://localhost") {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = pair.publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const keyId = keyIdOf(publicKey);
  const rpId = new URL(origin).hostname;
  const passkey: Passkey = {
    credentialId: randomBytes(16).toString("base64url"),
    cose: "",
    rpId,
    origin,
    aaguid: "00000000-0000-0000-0000-000000000000",
    challenge: "",
    attestationObject: "",
    clientDataJSON: "",
    transports: ["internal"],
  };
  return {
    keyId,
    publicKey,
    passkey,
    sign(statement: string, count = 0, type?: string): Extract<SignedStatement, { kind: "webauthn" }> {
      const counter = Buffer.alloc(4);
      counter.writeUInt32BE(count);
      const data = Buffer.concat([sha256(rpId), Buffer.of(5), counter]);
      const client = { type: "webauthn.get", challenge: challengeOf(statement, type), origin, crossOrigin: false };
      const clientData = Buffer.from(JSON.stringify(client));
      return {
        kind: "webauthn",
        statement,
        keyId,
        credentialId: passkey.credentialId,
        authenticatorData: data.toString("base64url"),
        clientDataJSON: clientData.toString("base64url"),
        signature: sign("sha256", Buffer.concat([data, sha256(clientData)]), pair.privateKey).toString("base64url"),
      };
    },
  };
}
