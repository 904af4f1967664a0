import { generateRegistrationOptions, verifyRegistrationResponse } from "@simplewebauthn/server";
import type { RegistrationResponseJSON } from "@simplewebauthn/server";

import { ApprovalError, coseAlgorithms, listKeys, openEnrolment, publicKeyOfCose } from "../approvals/index.ts";
import type { Passkey } from "../approvals/index.ts";
import { sha256 } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import type { Site } from "./site.ts";

/** Of Chromium's virtual authenticator: its private keys can be read out. */
const virtualAaguid = "01020304-0506-0708-0102-030405060708";
const maxKeysOfOne = 200;

type Person = { readonly id: string; readonly displayName: string };

/** What a browser is asked to make: a passkey that is unlocked by its owner each time, and says what made it. */
export async function beginEnrolment(tx: Tx, site: Site, person: Person, now: Date) {
  const own = await listKeys(tx, { principal: person.id, limit: maxKeysOfOne });
  const options = await generateRegistrationOptions({
    rpName: "Countersign",
    rpID: site.rpId,
    userName: person.id,
    userDisplayName: person.displayName,
    // The same each time, so that an authenticator knows the account; no name of a person.
    userID: Buffer.from(sha256(`countersign/user/${person.id}`), "hex"),
    attestationType: "direct",
    authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
    supportedAlgorithmIDs: [...coseAlgorithms],
    excludeCredentials: own.flatMap(({ passkey, revokedAt }) =>
      passkey === null || revokedAt !== null ? [] : [{ id: passkey.credentialId }],
    ),
  });
  await openEnrolment(tx, options.challenge, person.id, now);
  return options;
}

type Answer = { readonly challenge: string; readonly response: object };

/** Verifies what the browser made for a challenge of `beginEnrolment`. Throws `passkey_refused`. */
export async function finishEnrolment(
  site: Site,
  { challenge, response }: Answer,
): Promise<{ readonly publicKey: string; readonly passkey: Passkey }> {
  const answer = response as RegistrationResponseJSON;
  assertUnframed(answer.response.clientDataJSON);
  const info = await verified(site, challenge, answer);
  if (info.aaguid === virtualAaguid && !site.virtualAuthenticators) {
    throw refused("a virtual authenticator's passkeys can be copied, and are not taken");
  }
  const cose = Buffer.from(info.credential.publicKey).toString("base64url");
  const passkey: Passkey = {
    credentialId: info.credential.id,
    cose,
    rpId: site.rpId,
    origin: site.origin,
    aaguid: info.aaguid,
    challenge,
    attestationObject: answer.response.attestationObject,
    clientDataJSON: answer.response.clientDataJSON,
    transports: info.credential.transports ?? [],
  };
  return { publicKey: publicKeyOfCose(cose), passkey };
}

async function verified(site: Site, challenge: string, response: RegistrationResponseJSON) {
  try {
    const outcome = await verifyRegistrationResponse({
      response,
      expectedChallenge: challenge,
      expectedOrigin: site.origin,
      expectedRPID: site.rpId,
      requireUserVerification: true,
      supportedAlgorithmIDs: [...coseAlgorithms],
    });
    if (outcome.verified) return outcome.registrationInfo;
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : "it cannot be read", cause);
  }
  throw refused("its attestation does not verify");
}

/** The library looks at this for signatures only: a page that is framed can be put under another one's buttons. */
function assertUnframed(clientDataJSON: string): void {
  try {
    const client = JSON.parse(Buffer.from(clientDataJSON, "base64url").toString("utf8")) as Record<string, unknown>;
    if ((client["crossOrigin"] ?? false) === false && client["topOrigin"] === undefined) return;
  } catch (cause) {
    throw refused("its client data is not JSON", cause);
  }
  throw refused("it was made in a frame of another page");
}

function refused(why: string, cause?: unknown): ApprovalError {
  const reason = why.replaceAll(/\s+/g, " ").slice(0, 200);
  return new ApprovalError("passkey_refused", `the passkey is not taken: ${reason}`, { cause });
}
