import { createPublicKey } from "node:crypto";
import type { JsonWebKey } from "node:crypto";

import { ApprovalError } from "./errors.ts";

/**
 * Public keys of passkeys: COSE (RFC 9052 §7, RFC 9053), as authenticators give them, to SPKI, as everybody verifies with. Pure, with
 * node:crypto only: an auditor runs it too.
 */

/** COSE's numbers for algorithms: ES256, EdDSA with Ed25519, RS256. What is asked of an authenticator, the best first. */
export const coseAlgorithms = [-7, -8, -257] as const;

/** COSE labels: what a key is, its algorithm, and the parts, whose meaning depends on the type. */
const label = { type: 1, algorithm: 3, curve: -1, x: -2, y: -3, modulus: -1, exponent: -2 } as const;
const minRsaBits = 2_048;

/** The SPKI of a COSE key (base64url), in base64. Throws `key_malformed` for what is not a key of one of `coseAlgorithms`. */
export function publicKeyOfCose(cose: string): string {
  try {
    const key = createPublicKey({ key: jwkOf(readMap(Buffer.from(cose, "base64url"))), format: "jwk" });
    if ((key.asymmetricKeyDetails?.modulusLength ?? minRsaBits) < minRsaBits) throw new RangeError("RSA key is short");
    return key.export({ type: "spki", format: "der" }).toString("base64");
  } catch (cause) {
    throw new ApprovalError("key_malformed", "passkey's public key is not ES256, Ed25519, or RS256 of 2048 bits", {
      cause,
    });
  }
}

function jwkOf(key: ReadonlyMap<number, number | Buffer>): JsonWebKey {
  const bytes = (name: number): string => {
    const value = key.get(name);
    if (!Buffer.isBuffer(value)) throw new TypeError("a part of the key is missing");
    return value.toString("base64url");
  };
  const kind = [key.get(label.type), key.get(label.algorithm)].join();
  if (kind === "2,-7" && key.get(label.curve) === 1) {
    return { kty: "EC", crv: "P-256", x: bytes(label.x), y: bytes(label.y) };
  }
  if (kind === "1,-8" && key.get(label.curve) === 6) return { kty: "OKP", crv: "Ed25519", x: bytes(label.x) };
  if (kind === "3,-257") return { kty: "RSA", n: bytes(label.modulus), e: bytes(label.exponent) };
  throw new TypeError("key is of another algorithm");
}

/** A CBOR map of integers to integers and byte strings (RFC 8949): all that a COSE key of these algorithms is. */
function readMap(bytes: Buffer): ReadonlyMap<number, number | Buffer> {
  let at = 0;
  const take = (count: number): Buffer => {
    const taken = bytes.subarray(at, (at += count));
    if (taken.length !== count) throw new RangeError("CBOR ends too early");
    return taken;
  };
  const head = (): { readonly major: number; readonly value: number } => {
    const first = take(1).readUInt8();
    const short = first & 0x1f;
    const more = { 24: 1, 25: 2, 26: 4 }[short] ?? 0;
    if (short > 26) throw new RangeError("CBOR of unknown length");
    return { major: first >> 5, value: more === 0 ? short : take(more).readUIntBE(0, more) };
  };
  const item = (): number | Buffer => {
    const { major, value } = head();
    if (major === 0) return value;
    if (major === 1) return -1 - value;
    if (major === 2) return take(value);
    throw new TypeError("CBOR item is neither an integer nor bytes");
  };
  const map = new Map<number, number | Buffer>();
  const { major, value: size } = head();
  if (major !== 5) throw new TypeError("CBOR is no map");
  for (let entry = 0; entry < size; entry += 1) {
    const key = item();
    if (typeof key !== "number" || map.has(key)) throw new TypeError("CBOR key is no integer, or twice there");
    map.set(key, item());
  }
  if (at !== bytes.length) throw new RangeError("CBOR is followed by something");
  return map;
}
