import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { generateRegistrationOptions, verifyRegistrationResponse } from "@simplewebauthn/server";
import type { Frame, Page } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";

import { challengeOf, publicKeyOfCose, statementText } from "../../src/approvals/index.ts";
import type { ApprovalStatement } from "../../src/approvals/index.ts";
import { addAuthenticator, startChromium } from "../support/chromium.ts";

/**
 * `RECORD_ASSERTIONS=1 npx vitest run --project e2e test/e2e/record-assertions.test.ts` writes what a real browser signs, as it should be
 * and as it should not, to `test/vectors/webauthn/recorded.json`. The keys are an authenticator's that is gone.
 */
const file = new URL("../vectors/webauthn/recorded.json", import.meta.url);
const statement = statementText({
  v: 1,
  type: "countersign/approval/v1",
  request: "apr_01K0AAAAAAAAAAAAAAAAAAAAAA",
  team: "shop",
  run: "run_01K0AAAAAAAAAAAAAAAAAAAAAA",
  seq: 3,
  action: "a".repeat(64),
  rendered: "b".repeat(64),
  policySet: "c".repeat(64),
  decision: "approve",
  reviewer: "alice",
  reason: "the café's bill \u202e, seen",
  nonce: "n".repeat(24),
  issuedAt: "2026-11-25T10:00:00.000Z",
  expiresAt: "2026-11-26T10:00:00.000Z",
} as unknown as ApprovalStatement);

test.runIf(process.env["RECORD_ASSERTIONS"] === "1")("recorded", async () => {
  const browser = await startChromium();
  onTestFinished(() => browser.close());
  const [here, elsewhere] = [await serve("<!doctype html>"), await serve("<!doctype html>")];
  const top = await serve(`<!doctype html><iframe src="${here}" allow="publickey-credentials-get *"></iframe>`);
  const page = await browser.newPage();
  const authenticator = await addAuthenticator(page);

  await page.goto(here);
  const alice = await enrol(page, here, "alice");
  const bob = await enrol(page, here, "bob");
  const [dora, rob] = [await enrol(page, here, "dora", -8), await enrol(page, here, "rob", -257)];
  const [genuine, byDora, byRob] = [await sign(page, alice), await sign(page, dora), await sign(page, rob)];
  const byBob = await sign(page, bob);
  await authenticator.verify(false);
  const unverified = await sign(page, alice, "discouraged");
  await authenticator.verify(true);
  await page.goto(elsewhere);
  const otherOrigin = await sign(page, alice);
  const otherSite = here.replace("localhost", "app.localhost");
  await page.goto(otherSite);
  const carol = await enrol(page, otherSite, "carol");
  const bySite = await sign(page, carol);
  await page.goto(top);
  const framed = await sign(
    page.frames().find((frame) => frame.url().startsWith(here))!,
    alice,
  );

  const assertions = { genuine, byDora, byRob, byBob, unverified, otherOrigin, framed, bySite };
  await writeFile(
    file,
    `${JSON.stringify({ statement, keys: { alice, bob, carol, dora, rob }, assertions }, undefined, 2)}\n`,
  );
  expect(new Set(Object.values(assertions).map(({ signature }) => signature)).size).toBe(8);
});

type Key = Awaited<ReturnType<typeof enrol>>;

async function enrol(page: Page, origin: string, name: string, algorithm = -7) {
  const rpId = new URL(origin).hostname;
  const options = await generateRegistrationOptions({
    rpName: "Countersign",
    rpID: rpId,
    userName: name,
    attestationType: "direct",
    authenticatorSelection: { userVerification: "required" },
    supportedAlgorithmIDs: [algorithm],
  });
  const response = await page.evaluate<never>(
    `navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(${JSON.stringify(options)}) })
       .then((made) => made.toJSON())`,
  );
  const { verified, registrationInfo } = await verifyRegistrationResponse({
    response,
    expectedChallenge: options.challenge,
    expectedOrigin: origin,
    expectedRPID: rpId,
    supportedAlgorithmIDs: [algorithm],
  });
  if (!verified) throw new Error("the enrolment does not verify");
  const { credential, aaguid } = registrationInfo;
  const cose = Buffer.from(credential.publicKey).toString("base64url");
  const enrolment = (response as { response: { attestationObject: string; clientDataJSON: string } }).response;
  return {
    credentialId: credential.id,
    rpId,
    origin,
    cose,
    publicKey: publicKeyOfCose(cose),
    aaguid,
    challenge: options.challenge,
    attestationObject: enrolment.attestationObject,
    clientDataJSON: enrolment.clientDataJSON,
  };
}

async function sign(page: Page | Frame, { credentialId, rpId }: Key, userVerification = "required") {
  const options = {
    challenge: challengeOf(statement),
    rpId,
    userVerification,
    allowCredentials: [{ id: credentialId, type: "public-key" }],
  };
  const answer = await page.evaluate<{ id: string; response: Record<string, string> }>(
    `navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(${JSON.stringify(options)}) })
       .then((given) => given.toJSON())`,
  );
  const { signature, authenticatorData, clientDataJSON } = answer.response;
  return { credentialId: answer.id, signature, authenticatorData, clientDataJSON };
}

async function serve(html: string): Promise<string> {
  const server = createServer((_request, response) => response.setHeader("content-type", "text/html").end(html));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}
