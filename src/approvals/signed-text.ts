import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";

import type { z } from "zod";

import type { Json } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { ApprovalError } from "./errors.ts";

/**
 * What reviewers sign beside approvals: each kind has a type, which is in the text and goes before it when it is signed, so that a
 * signature over one kind can be taken for no other.
 */
export type SignedKind<Statement extends { readonly type: string }> = {
  readonly type: Statement["type"];
  readonly schema: z.ZodType<Statement>;
};

const signatureBytes = 64;

/** The statement's RFC 8785 text: what is signed, sent and kept. */
export function textOfSigned(statement: { readonly type: string }): string {
  return canonicalText(statement as unknown as Json);
}

/** Reads a statement of this kind. Throws `statement_malformed` for anything but its canonical form. */
export function parseSigned<Statement extends { readonly type: string }>(
  kind: SignedKind<Statement>,
  text: string,
): Statement {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApprovalError("statement_malformed", "statement is not JSON", { cause });
  }
  const parsed = kind.schema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = `\`${issue?.path.join(".") ?? ""}\` ${issue?.message ?? ""}`;
    throw new ApprovalError("statement_malformed", `statement is no \`${kind.type}\`: ${where}`);
  }
  if (textOfSigned(parsed.data) !== text)
    throw new ApprovalError("statement_malformed", "statement is not canonical JSON (RFC 8785)");
  return parsed.data;
}

/** The statement in a text that anybody may have written, or undefined where it is none. */
export function readSigned<Statement extends { readonly type: string }>(
  kind: SignedKind<Statement>,
  text: string,
): Statement | undefined {
  try {
    return parseSigned(kind, text);
  } catch {
    return undefined;
  }
}

/** Ed25519 over the type, a newline and the text, base64. `privateKey` is PKCS #8 in PEM. */
export function signText(type: string, text: string, privateKey: string): string {
  return sign(null, Buffer.from(`${type}\n${text}`, "utf8"), createPrivateKey(privateKey)).toString("base64");
}

/** Whether `signature` (base64) is over exactly this text, as one of this type, by the key (SPKI, base64). */
export function verifyText(type: string, text: string, signature: string, publicKey: string): boolean {
  const bytes = Buffer.from(signature, "base64");
  // One spelling for each signature: Node's decoder skips what is not base64.
  if (bytes.length !== signatureBytes || bytes.toString("base64") !== signature) return false;
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), type: "spki", format: "der" });
    return key.asymmetricKeyType === "ed25519" && verify(null, Buffer.from(`${type}\n${text}`, "utf8"), key, bytes);
  } catch {
    return false;
  }
}
