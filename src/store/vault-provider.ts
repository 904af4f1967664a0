import { z } from "zod";

import { StoreError } from "./database.ts";
import type { KeyProvider } from "./key-provider.ts";

export type VaultOptions = {
  /** Where Vault (or OpenBao) answers, such as `https://vault.example:8200`. */
  readonly address: string;
  readonly token: string;
  /** A key of the transit engine made with `derived=true`, so that each data key has a context of its own. */
  readonly key: string;
  /** Where the transit engine is mounted. */
  readonly mount: string;
  /** Vault Enterprise and OpenBao; absent: none. */
  readonly namespace?: string | undefined;
  readonly timeoutMs?: number;
};

const defaultTimeoutMs = 5_000;
/** A wrapped key takes some hundred. */
const maxAnswerBytes = 64 * 1024;
const encrypted = z.object({ data: z.object({ ciphertext: z.string().regex(/^vault:v\d+:/) }) });
const decrypted = z.object({ data: z.object({ plaintext: z.base64() }) });

/**
 * Data keys wrapped by HashiCorp Vault's transit engine: the wrapping key never leaves it. Its HTTP API, `POST /v1/MOUNT/encrypt/KEY` and
 * `.../decrypt/KEY`: https://developer.hashicorp.com/vault/api-docs/secret/transit. What it does not answer in time fails.
 */
export function vaultKeyProvider(options: VaultOptions): KeyProvider {
  const { address, mount, key } = options;
  const at = (action: "encrypt" | "decrypt") =>
    new URL(`v1/${mount}/${action}/${encodeURIComponent(key)}`, address.endsWith("/") ? address : `${address}/`);
  return {
    name: `vault:${mount}/${key}`,
    async wrap(plain, context) {
      const asked = { plaintext: plain.toString("base64"), context: base64Of(context) };
      return Buffer.from((await ask(options, at("encrypt"), asked, encrypted)).data.ciphertext, "utf8");
    },
    async unwrap(wrapped, context) {
      const asked = { ciphertext: wrapped.toString("utf8"), context: base64Of(context) };
      return Buffer.from((await ask(options, at("decrypt"), asked, decrypted)).data.plaintext, "base64");
    },
  };
}

function base64Of(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

async function ask<Answer>(
  { token, namespace, timeoutMs = defaultTimeoutMs }: VaultOptions,
  url: URL,
  body: object,
  shape: z.ZodType<Answer>,
): Promise<Answer> {
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-vault-token": token,
        "x-vault-request": "true",
        ...(namespace === undefined ? {} : { "x-vault-namespace": namespace }),
      },
      body: JSON.stringify(body),
      // A redirect would take the token elsewhere.
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await readBounded(answer);
  } catch (cause) {
    const why = cause instanceof RangeError ? "answered too much" : `did not answer in ${timeoutMs} ms`;
    throw failed(`vault at \`${url.host}\` ${why}`, cause);
  }
  if (!answer.ok) throw failed(`vault at \`${url.host}\` refused with status ${answer.status}`);
  const parsed = shape.safeParse(jsonIn(text));
  if (!parsed.success) throw failed(`vault at \`${url.host}\` answered something else`);
  return parsed.data;
}

/** Throws where it is longer than {@link maxAnswerBytes}; leaving the loop closes the connection. */
async function readBounded(answer: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of answer.body ?? []) {
    length += piece.length;
    if (length > maxAnswerBytes) throw new RangeError(`its answer has more than ${maxAnswerBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function failed(message: string, cause?: unknown): StoreError {
  return new StoreError("key_provider_failed", message, {
    cause,
    hint: "look at its address, token and key: VAULT_ADDR, VAULT_TOKEN, COUNTERSIGN_KEY_PROVIDER",
  });
}
