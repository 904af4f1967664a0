import { startRegistration } from "@simplewebauthn/browser";

import { attempt, byId, call, element, say, signIn, time } from "./page.js";

signIn(async (me) => {
  byId("enrol").addEventListener("click", () => void attempt(() => enrol(me)));
  await refresh(me);
});

/** @typedef {{ id: string, roles: string[] }} Me */

/** @param {Me} me */
async function refresh(me) {
  const [own, proposed] = await Promise.all([
    call("GET", `/v1/keys?limit=200&principal=${encodeURIComponent(me.id)}`),
    me.roles.includes("admin") ? call("GET", "/v1/keys?limit=200&state=proposed") : { keys: [] },
  ]);
  fill(
    "own",
    own.keys.map((/** @type {any} */ key) => item(me, key, key.state === "revoked" ? [] : ["revoke"])),
    "None yet.",
  );
  const others = proposed.keys.filter((/** @type {any} */ key) => key.principal !== me.id);
  fill(
    "proposed",
    others.map((/** @type {any} */ key) => item(me, key, ["confirm", "revoke"])),
    "Nothing to confirm.",
  );
  byId("keys").hidden = false;
  byId("others").hidden = !me.roles.includes("admin");
}

/**
 * @param {string} id
 * @param {HTMLElement[]} items
 * @param {string} empty
 */
function fill(id, items, empty) {
  byId(id).replaceChildren(...(items.length === 0 ? [element("li", empty)] : items));
}

/**
 * @param {Me} me
 * @param {any} key
 * @param {("confirm" | "revoke")[]} actions
 */
function item(me, key, actions) {
  const made = document.createElement("li");
  const kind = key.kind === "webauthn" ? "passkey" : "key file";
  made.append(
    element("strong", `${key.principal}: ${kind}, ${stateOf(key)}`),
    element("div", `proposed by ${key.addedBy} at ${time(key.addedAt)}`),
    element("code", key.keyId),
  );
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  for (const action of actions) {
    const button = /** @type {HTMLButtonElement} */ (element("button", action === "confirm" ? "Confirm" : "Revoke"));
    button.type = "button";
    button.setAttribute("aria-label", `${button.textContent} the ${kind} ${key.keyId.slice(0, 8)} of ${key.principal}`);
    if (action === "revoke") button.className = "plain";
    button.addEventListener("click", () => void attempt(() => change(me, key, action)));
    buttons.append(button);
  }
  if (actions.length > 0) made.append(buttons);
  return made;
}

/** @param {any} key */
function stateOf(key) {
  if (key.state === "proposed") return "waits to be confirmed";
  if (key.state === "revoked") return `revoked at ${time(key.revokedAt)}`;
  return key.bootstrap ? "enrolled first, without a second person" : `confirmed by ${key.confirmedBy}`;
}

/**
 * @param {Me} me
 * @param {any} key
 * @param {"confirm" | "revoke"} action
 */
async function change(me, key, action) {
  const question = action === "confirm" ? `Is this key ${key.principal}'s own?` : "Revoke this key, for good?";
  if (!confirm(`${question}\n${key.keyId}`)) return;
  await call("POST", `/v1/keys/${key.keyId}/${action}`);
  await refresh(me);
  say("good", `${action === "confirm" ? "Confirmed" : "Revoked"}: ${key.keyId}`);
}

/** @param {Me} me */
async function enrol(me) {
  const optionsJSON = await call("POST", "/v1/keys/passkey/options");
  const response = await startRegistration({ optionsJSON });
  const { key } = await call("POST", "/v1/keys/passkey", { challenge: optionsJSON.challenge, response });
  await refresh(me);
  say("good", `Enrolled, and waiting for an admin to confirm it: ${key.keyId}`);
}
