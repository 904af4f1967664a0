import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";

import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { canonicalText, sha256 } from "../store/canonical.ts";
import { ApprovalError } from "./errors.ts";
import { approvalType, statementSchema } from "./statement.schema.ts";
import type { ApprovalStatement } from "./statement.schema.ts";

/** Goes before the statement when it is signed, so that the signature can be taken for nothing else. */
const domain = `${approvalType}\n`;
const signatureBytes = 64;

/** The statement's RFC 8785 text: what is signed, sent and kept. */
export function statementText(statement: ApprovalStatement): string {
  return canonicalText(statement as unknown as Json);
}

/** Reads a statement. Throws `statement_malformed` for anything but its canonical form. */
export function parseStatement(text: string): ApprovalStatement {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApprovalError("statement_malformed", "statement is not JSON", { cause });
  }
  const parsed = statementSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ApprovalError(
      "statement_malformed",
      `statement is not of version 1: \`${issue?.path.join(".") ?? ""}\` ${issue?.message ?? ""}`,
    );
  }
  if (statementText(parsed.data) !== text)
    throw new ApprovalError("statement_malformed", "statement is not canonical JSON (RFC 8785)");
  return parsed.data;
}

/** The statement in `text`, or undefined where it is none: for rows that anybody may have written. */
export function readStatement(text: string): ApprovalStatement | undefined {
  try {
    return parseStatement(text);
  } catch {
    return undefined;
  }
}

/** Ed25519 over domain and statement, base64. `privateKey` is PKCS #8 in PEM. */
export function signStatement(text: string, privateKey: string): string {
  return sign(null, Buffer.from(domain + text, "utf8"), createPrivateKey(privateKey)).toString("base64");
}

/** Whether `signature` (base64) is over exactly this text by the key (SPKI, base64). */
export function verifyStatement(text: string, signature: string, publicKey: string): boolean {
  const bytes = Buffer.from(signature, "base64");
  // One spelling for each signature: Node's decoder skips what is not base64.
  if (bytes.length !== signatureBytes || bytes.toString("base64") !== signature) return false;
  try {
    return verify(null, Buffer.from(domain + text, "utf8"), importPublicKey(publicKey), bytes);
  } catch {
    return false;
  }
}

/** A key's id: SHA-256 of its SPKI bytes. */
export function keyIdOf(publicKey: string): Digest {
  return sha256(Buffer.from(publicKey, "base64"));
}

/** Whether this is an Ed25519 key as SPKI in base64, in the one spelling that it has. */
export function isPublicKey(publicKey: string): boolean {
  try {
    return importPublicKey(publicKey).export({ type: "spki", format: "der" }).toString("base64") === publicKey;
  } catch {
    return false;
  }
}

/** The public half of a PKCS #8 PEM, as SPKI in base64. */
export function publicKeyOf(privateKey: string): string {
  return createPublicKey(privateKey).export({ type: "spki", format: "der" }).toString("base64");
}

function importPublicKey(publicKey: string): KeyObject {
  const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), type: "spki", format: "der" });
  if (key.asymmetricKeyType !== "ed25519")
    throw new ApprovalError("signature_invalid", "reviewer key is not an Ed25519 key");
  return key;
}
