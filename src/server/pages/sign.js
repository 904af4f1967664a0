import { startAuthentication } from "@simplewebauthn/browser";

import { call } from "./page.js";

const utf8 = new TextEncoder();

/**
 * Signs a statement with a passkey of this person: what the API takes. `template` is all of it but who signs, and when.
 * @param {string} person
 * @param {Record<string, string | number>} template
 */
export async function signWithPasskey(person, template) {
  const [first, ...more] = await passkeysOf(person);
  const keys = [first, ...more];
  const statement = canonical({ ...template, reviewer: person, issuedAt: new Date().toISOString() });
  const challenge = base64url(await digest(`${template["type"]}\n${statement}`));
  const { response, id: credentialId } = await startAuthentication({
    optionsJSON: {
      challenge,
      rpId: first.passkey.rpId,
      userVerification: "required",
      allowCredentials: keys.map(({ passkey }) => ({
        id: passkey.credentialId,
        type: "public-key",
        transports: passkey.transports,
      })),
    },
  });
  const key = keys.find(({ passkey }) => passkey.credentialId === credentialId);
  return {
    kind: "webauthn",
    statement,
    keyId: key?.keyId,
    credentialId,
    signature: response.signature,
    authenticatorData: response.authenticatorData,
    clientDataJSON: response.clientDataJSON,
    ...(response.userHandle === undefined ? {} : { userHandle: response.userHandle }),
  };
}

/** @typedef {{ keyId: string, passkey: { credentialId: string, rpId: string, transports: any[] } }} Key */

/**
 * @param {string} person
 * @returns {Promise<[Key, ...Key[]]>}
 */
async function passkeysOf(person) {
  const { keys } = await call("GET", `/v1/keys?state=active&limit=200&principal=${encodeURIComponent(person)}`);
  const here = keys.filter((/** @type {any} */ key) => key.passkey?.origin === location.origin);
  if (here.length > 0) return /** @type {[Key, ...Key[]]} */ (here);
  throw new Error(
    "You have no confirmed passkey for this address. Enrol one under Keys, and have an admin confirm it.",
  );
}

/**
 * RFC 8785 of texts, whole numbers, yes and no, lists and objects of such. Throws for anything else.
 * @param {unknown} value
 * @returns {string}
 */
function canonical(value) {
  if (typeof value === "string") {
    if (value.isWellFormed()) return JSON.stringify(value);
    throw new Error("The text has a broken character.");
  }
  if (typeof value === "boolean" || (typeof value === "number" && Number.isSafeInteger(value)))
    return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) throw new Error("There is something in it that cannot be signed.");
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, inner]) => `${canonical(name)}:${canonical(inner)}`).join(",")}}`;
}

/**
 * The digest of a document: SHA-256 over its RFC 8785 bytes, hexadecimal.
 * @param {unknown} document
 */
export async function digestOf(document) {
  return hex(await digest(canonical(document)));
}

/** @param {string} text */
async function digest(text) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(text)));
}

/**
 * What names contents: HMAC-SHA-256 under the run's salt, or SHA-256 where it has none.
 * @param {string | null} salt
 * @param {string} text
 */
export async function contentDigest(salt, text) {
  return hex(salt === null ? await digest(text) : await commitment(salt, text));
}

/**
 * @param {string} salt
 * @param {string} text
 */
async function commitment(salt, text) {
  const bytes = salt.match(/[0-9a-f]{2}/g) ?? [];
  if (bytes.length !== 32 || salt.length !== 64) throw new Error("The run's salt is malformed.");
  const secret = new Uint8Array(bytes.map((byte) => parseInt(byte, 16)));
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8.encode(`countersign/content/v1\n${text}`)));
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
