import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

import { onTestFinished } from "vitest";

export const vaultToken = "hvs.test";

export type PlayedVault = {
  readonly address: string;
  readonly asked: string[];
  behave: "well" | "late" | "sealed" | "redirect" | "odd" | "endless";
};

/** Vault's transit engine as its API documentation has it, with one derived key `countersign`. */
export async function playVault(): Promise<PlayedVault> {
  const master = randomBytes(32);
  const keyOf = (context: string) => Buffer.from(hkdfSync("sha256", master, "", Buffer.from(context, "base64"), 32));
  const played: { -readonly [Key in keyof PlayedVault]: PlayedVault[Key] } = { address: "", asked: [], behave: "well" };
  const server = createServer((request, response) => {
    void (async () => {
      const body = JSON.parse(await text(request)) as { plaintext?: string; ciphertext?: string; context?: string };
      const answer = (status: number, value: unknown, headers = {}) => {
        response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
      };
      const refuse = (status: number, error: string) => answer(status, { errors: [error] });
      played.asked.push(`${request.method} ${request.url}`);
      if (played.behave === "late") return;
      if (played.behave === "sealed") return refuse(503, "Vault is sealed");
      if (played.behave === "redirect") return answer(307, {}, { location: `${played.address}/elsewhere` });
      if (played.behave === "endless") {
        response.writeHead(200, { "content-type": "application/json" });
        const more = (): void => void (response.destroyed || response.write(" ".repeat(60_000), more));
        return more();
      }
      if (played.behave === "odd") return answer(200, { data: { plaintext: "?", ciphertext: "none" } });
      if (request.headers["x-vault-token"] !== vaultToken) return refuse(403, "permission denied");
      if (body.context === undefined) return refuse(400, "missing 'context' for key derivation");
      if (request.url === "/v1/transit/encrypt/countersign" && body.plaintext !== undefined) {
        const nonce = randomBytes(12);
        const cipher = createCipheriv("aes-256-gcm", keyOf(body.context), nonce);
        const sealed = [nonce, cipher.update(body.plaintext, "base64"), cipher.final(), cipher.getAuthTag()];
        return answer(200, {
          data: { ciphertext: `vault:v1:${Buffer.concat(sealed).toString("base64")}`, key_version: 1 },
        });
      }
      if (request.url === "/v1/transit/decrypt/countersign" && body.ciphertext !== undefined) {
        const sealed = Buffer.from(body.ciphertext.replace(/^vault:v1:/, ""), "base64");
        const decipher = createDecipheriv("aes-256-gcm", keyOf(body.context), sealed.subarray(0, 12));
        decipher.setAuthTag(sealed.subarray(-16));
        try {
          const plain = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
          return answer(200, { data: { plaintext: plain.toString("base64") } });
        } catch {
          return refuse(400, "cipher: message authentication failed");
        }
      }
      return refuse(404, "no handler for route");
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  played.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return played;
}
