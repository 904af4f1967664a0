import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";

import type { ApiClient, ApprovalDetail } from "../api/index.ts";
import {
  keyIdOf,
  publicKeyOf,
  renderAction,
  renderChange,
  signStatement,
  signText,
  statementText,
  textOfSigned,
} from "../approvals/index.ts";
import type { Action } from "../core/action.ts";
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
  assertShown(detail, decision);
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

/**
 * The server may show one call and have another signed. What is signed is the digest of an action: its contents must have that digest, and
 * the text on the screen must be theirs.
 */
function assertShown(detail: ApprovalDetail, decision: "approve" | "deny"): void {
  const { call, salt, statement, rendered, tool, made } = detail;
  if (call === null) {
    // Models' answers and what was erased have no call. What reads as one has: else nobody could tell what is signed.
    if (decision === "approve" && rendered.startsWith("tool `")) throw shownDifferently("its contents are not there");
    return;
  }
  if (contentDigest(salt ?? undefined, call) !== statement.action) throw shownDifferently("its contents are another's");
  const action = call as unknown as Action;
  const hints = tool ?? undefined;
  const changes = made === null ? [] : renderChange(action.arguments, made, hints);
  const text = renderAction(changes.length === 0 ? action : { ...action, arguments: made }, hints);
  const changed =
    changes.length === 0 ? "" : ["changed by policy:", ...changes.map((line) => `  ${line}`), ""].join("\n");
  if (!rendered.startsWith(text) || !rendered.includes(changed)) throw shownDifferently("its text is another's");
}

function shownDifferently(what: string): CliError {
  return new CliError("shown_differently", `what the server shows is not what would be signed: ${what}`, {
    hint: "sign nothing, and tell your operator: what is recorded or sent was changed",
  });
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
