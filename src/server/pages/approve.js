import { startAuthentication } from "@simplewebauthn/browser";

import { showContext } from "./context.js";
import { attempt, byId, call, element, say, signIn, time } from "./page.js";

/** What is put before a statement when it is signed. */
const domain = "countersign/approval/v1\n";
const utf8 = new TextEncoder();
const id = /^\/approve\/([^/]+)$/.exec(location.pathname)?.[1];

signIn(async (me) => {
  if (id === undefined) return listRequests();
  const request = await call("GET", `/v1/approvals/${id}`);
  show(request);
  const form = /** @type {HTMLFormElement} */ (byId("decide"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const pressed = /** @type {HTMLButtonElement} */ (/** @type {SubmitEvent} */ (event).submitter);
    void attempt(() => decide(me, request, pressed.value));
  });
});

async function listRequests() {
  const { approvals, next } = await call("GET", "/v1/approvals?state=pending&limit=100");
  const list = byId("requests");
  const { outcomes } = await call("GET", "/v1/unknown-outcomes?state=open&limit=100");
  for (const outcome of outcomes) {
    const item = element("li", `Did ${outcome.name} in ${outcome.team} happen? Nobody knows.`);
    item.append(element("div", `Look, and say so: countersign approvals resolve ${outcome.run} ${outcome.seq}`));
    list.append(item);
  }
  for (const approval of approvals) {
    const item = document.createElement("li");
    const link = /** @type {HTMLAnchorElement} */ (element("a", `${approval.name} in ${approval.team}`));
    link.href = `/approve/${encodeURIComponent(approval.id)}`;
    item.append(link, element("div", `asked for by ${approval.requestedBy}, expires ${time(approval.expiresAt)}`));
    list.append(item);
  }
  if (approvals.length + outcomes.length === 0) list.append(element("li", "Nothing waits."));
  if (next !== null) list.append(element("li", "There are more; decide on these first."));
  byId("list").hidden = false;
}

/** @param {any} request */
function show(request) {
  byId("request-title").textContent = `${request.name} in ${request.team}`;
  const needs = request.requirements.map((/** @type {any} */ one) => `${one.needs} (policy ${one.policy})`);
  const decided = request.decidedBy.map(
    (/** @type {any} */ one) =>
      `${one.reviewer}: ${one.decision === "approve" ? "approved" : "denied"}${one.fallen ? " (the key was revoked: it does not count)" : ""}`,
  );
  facts([
    ["State", request.state],
    ["Run", `${request.run}, step ${request.seq}`],
    ["Asked for by", request.requestedBy],
    ["Needs", needs.join("; ")],
    ["Decided", decided.join("; ") || "by nobody yet"],
    ...(request.editors.length === 0 ? [] : [["Changed by", request.editors.join(", ")]]),
    ["Expires", time(request.expiresAt)],
  ]);
  byId("rendered").textContent = request.rendered;
  showContext(request);
  byId("decide").hidden = request.state !== "pending";
  byId("request").hidden = false;
  if (request.state !== "pending") say("info", `This request is ${request.state}: there is nothing to decide.`);
  byId("rendered").focus();
}

/** @param {string[][]} rows */
function facts(rows) {
  byId("facts").replaceChildren(
    ...rows.flatMap(([name = "", value = ""]) => [element("dt", name), element("dd", value)]),
  );
}

/**
 * Signs what is on the screen: the digest in the statement is of the text that is shown here.
 * @param {{ id: string }} me
 * @param {any} request
 * @param {string} decision
 */
async function decide(me, request, decision) {
  const [first, ...more] = await passkeysOf(me.id);
  const keys = [first, ...more];
  const statement = canonical({
    ...request.statement,
    rendered: await contentDigest(request.salt, JSON.stringify(byId("rendered").textContent)),
    decision,
    reviewer: me.id,
    reason: /** @type {HTMLTextAreaElement} */ (byId("reason")).value.trim(),
    issuedAt: new Date().toISOString(),
  });
  const challenge = base64url(await digest(domain + statement));
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
  const answer = await call("POST", `/v1/approvals/${request.id}/decisions`, {
    kind: "webauthn",
    statement,
    keyId: key?.keyId,
    credentialId,
    signature: response.signature,
    authenticatorData: response.authenticatorData,
    clientDataJSON: response.clientDataJSON,
    ...(response.userHandle === undefined ? {} : { userHandle: response.userHandle }),
  });
  show({ ...request, ...answer.approval });
  const word = decision === "approve" ? "Approved" : "Denied";
  const rest = answer.approval.state === "pending" ? " More people must agree before it happens." : "";
  say("good", `${word} as ${me.id}.${rest}`);
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
 * RFC 8785 of an object of texts and integers.
 * @param {Record<string, string | number>} value
 */
function canonical(value) {
  const names = Object.keys(value).sort();
  for (const name of names) {
    const inner = value[name];
    if (typeof inner === "string" && !inner.isWellFormed()) throw new Error("The text has a broken character.");
  }
  return `{${names.map((name) => `${JSON.stringify(name)}:${JSON.stringify(value[name])}`).join(",")}}`;
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
async function contentDigest(salt, text) {
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
