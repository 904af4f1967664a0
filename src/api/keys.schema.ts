import { z } from "zod";

import { digest, principalId, time } from "./common.schema.ts";
import { keyStates } from "../core/states.ts";

const base64url = z.string().regex(/^[A-Za-z0-9_-]*$/, "expected base64url");

export const keyView = z
  .object({
    keyId: digest.describe("SHA-256 of the public key's SPKI bytes"),
    kind: z.enum(["ed25519", "webauthn"]),
    state: z.enum(keyStates),
    principal: principalId,
    publicKey: z.string().describe("SPKI, base64"),
    addedAt: time,
    addedBy: z.string(),
    confirmedAt: time.nullable(),
    confirmedBy: z.string().nullable(),
    bootstrap: z.boolean().describe("enrolled without a second person"),
    revokedAt: time.nullable(),
    revokedBy: z.string().nullable(),
    passkey: z
      .object({
        credentialId: base64url,
        rpId: z.string(),
        origin: z.string(),
        aaguid: z.string().describe("the model of authenticator"),
        transports: z.array(z.string()),
      })
      .nullable(),
  })
  .meta({ id: "ReviewerKey" });
export type KeyView = z.output<typeof keyView>;

export const listKeysQuery = z.strictObject({
  principal: principalId.optional(),
  state: z.enum(keyStates).optional(),
  cursor: z.string().max(100).optional().describe("`next` of the page before"),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export const keyPage = z.object({ keys: z.array(keyView), next: z.string().nullable() });

export const proposeKeyBody = z.strictObject({
  publicKey: z.string().max(200).describe("SPKI of an Ed25519 key, base64"),
  principal: principalId.optional().describe("whose it is, where not the caller's; an admin's to say"),
});
export const proposedKey = z.object({ key: keyView, added: z.boolean() });

/** PublicKeyCredentialCreationOptionsJSON and RegistrationResponseJSON of WebAuthn Level 3, as browsers have them. */
export const enrolmentOptions = z.looseObject({ challenge: base64url });
export const enrolPasskeyBody = z.strictObject({
  challenge: base64url.max(200),
  response: z.looseObject({
    id: base64url.max(2_000),
    rawId: base64url.max(2_000),
    type: z.literal("public-key"),
    response: z.looseObject({
      attestationObject: base64url.max(20_000),
      clientDataJSON: base64url.max(4_000),
      transports: z.array(z.string().max(40)).max(10).optional(),
    }),
  }),
});

export const keyParams = z.object({ key: digest });
export const confirmedKey = z.object({ key: keyView, confirmed: z.boolean() });
export const revokedKey = z.object({ key: keyView, revoked: z.boolean() });
