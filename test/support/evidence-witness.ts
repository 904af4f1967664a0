import { createPrivateKey, createPublicKey, hash, sign } from "node:crypto";

import { parseNote } from "../../src/ledger/proof/index.ts";
import type { EvidenceDraft } from "./evidence-draft.ts";

const seed = Buffer.alloc(32, 9);
const key = createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]),
  format: "der",
  type: "pkcs8",
});
const typed = Buffer.concat([Buffer.of(4), createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32)]);
const keyId = hash("sha256", Buffer.concat([Buffer.from("witness.example\n"), typed]), "buffer").subarray(0, 4);

/** A witness of the auditor's (C2SP tlog-cosignature). */
export const witness = { verifierKey: `witness.example+${keyId.toString("hex")}+${typed.toString("base64")}` };

/** Adds the witness's cosignature to a log's checkpoint. */
export function cosign(draft: EvidenceDraft, log: string): void {
  const path = draft.log(log).checkpoint;
  draft.put(path, cosignNote(draft.text(path)));
}

/** The note with the witness's cosignature. */
export function cosignNote(note: string): string {
  const time = 1_790_000_000;
  const stamp = Buffer.alloc(8);
  stamp.writeBigUInt64BE(BigInt(time));
  const signature = sign(null, Buffer.from(`cosignature/v1\ntime ${time}\n${parseNote(note).text}`), key);
  return `${note}— witness.example ${Buffer.concat([keyId, stamp, signature]).toString("base64")}\n`;
}
