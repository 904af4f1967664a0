import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";

import type { ApiClient, ApprovalDetail } from "../api/index.ts";
import { keyIdOf, publicKeyOf, signStatement, signText, statementText, textOfSigned } from "../approvals/index.ts";
import { contentDigest } from "../store/canonical.ts";
import { CliError } from "./cli-error.ts";

/**
 * Signs and sends a decision on what was shown: the digest that goes into the statement is of the text on the screen, so that a server
 * that shows one thing and records another gets a statement that it cannot use.
 */
export async function signDecision(
  reviewer: ApiClient,
  detail: ApprovalDetail,
  decision: "approve" | "deny",
  reason: string,
  privateKey: string,
) {
  const me = await reviewer.whoAmI({});
  const statement = statementText({
    ...detail.statement,
    rendered: contentDigest(detail.salt ?? undefined, detail.rendered),
    decision,
    reviewer: me.id,
    reason,
    issuedAt: new Date().toISOString(),
  });
  const answer = await reviewer.decideApproval({
    params: { approval: detail.id },
    body: { statement, signature: signStatement(statement, privateKey), keyId: keyIdOf(publicKeyOf(privateKey)) },
  });
  return { ...answer, reviewer: me.id };
}

/** The same of a statement of another type: `statement` is the server's template, `said` what is the person's to say. */
export async function signStatementOf<Template extends { readonly type: string }>(
  reviewer: ApiClient,
  statement: Template,
  said: { readonly [field: string]: string },
  privateKey: string,
) {
  const { id } = await reviewer.whoAmI({});
  const text = textOfSigned({ ...statement, ...said, reviewer: id, issuedAt: new Date().toISOString() });
  const signature = signText(statement.type, text, privateKey);
  return { reviewer: id, body: { statement: text, signature, keyId: keyIdOf(publicKeyOf(privateKey)) } };
}

/** A reviewer's private key, Ed25519 in PEM. */
export function readPrivateKey(path: string | undefined): string {
  if (path === undefined) {
    throw new CliError("environment", "no key to sign with", {
      hint: "give --key FILE, or set COUNTERSIGN_KEY_FILE (Ed25519, PEM)",
    });
  }
  const pem = readKeyFile(path);
  try {
    if (createPrivateKey(pem).asymmetricKeyType === "ed25519") return pem;
  } catch (cause) {
    throw unusable(path, cause);
  }
  throw unusable(path);
}

function readKeyFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `key file \`${path}\` cannot be read`, { cause });
  }
}

function unusable(path: string, cause?: unknown): CliError {
  return new CliError("key_unusable", `\`${path}\` is not an Ed25519 private key in PEM`, {
    cause,
    hint: "make one: openssl genpkey -algorithm ed25519 -out my.pem",
  });
}
