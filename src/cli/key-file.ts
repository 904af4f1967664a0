import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** The private key (PKCS #8, PEM) in the file, which is made where it is not there, and is its owner's alone to read. */
export function privateKeyIn(path: string): string {
  if (!existsSync(path)) {
    const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
    writeFileSync(path, pem, { mode: 0o600, flag: "wx" });
  }
  return readFileSync(path, "utf8");
}
