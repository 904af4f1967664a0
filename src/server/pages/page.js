// What the pages share. Text is set as text, never as HTML; the content security policy refuses the other thing too.

/** @type {string | undefined} The token, in this variable and nowhere else. */
let token;

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {string} name
 * @param {string} text
 * @returns {HTMLElement}
 */
export function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/**
 * Fills a list of names and values.
 * @param {string} id
 * @param {string[][]} rows
 */
export function facts(id, rows) {
  byId(id).replaceChildren(...rows.flatMap(([name = "", value = ""]) => [element("dt", name), element("dd", value)]));
}

/**
 * A text with what shows nothing, or turns what is around it, written out: as the gate and the command line write it.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(
    /(?! )[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}

/** @param {string} iso */
export function time(iso) {
  const day = /** @type {const} */ ({ year: "numeric", month: "short", day: "numeric" });
  const clock = /** @type {const} */ ({ hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  return new Date(iso).toLocaleString(undefined, { ...day, ...clock });
}

/**
 * What happened, for everybody: it is read out too.
 * @param {"good" | "bad" | "info"} kind
 * @param {string} text
 */
export function say(kind, text) {
  const notice = byId("notice");
  notice.className = `notice ${kind}`;
  notice.textContent = text;
  notice.hidden = false;
}

/**
 * Asks the API. Throws an Error whose message a person can act on.
 * @param {"GET" | "POST"} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function call(method, path, body) {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        authorization: `Bearer ${token ?? ""}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
    });
  } catch {
    throw new Error("The server does not answer. Is it running?");
  }
  const document = await answer.json().catch(() => undefined);
  if (answer.ok) return document;
  const { message, hint } = document?.error ?? { message: `The server answered with status ${answer.status}` };
  throw new Error(hint === undefined ? message : `${message}: ${hint}`);
}

/**
 * Runs `act`, with its buttons out of use, and says what went wrong.
 * @param {() => Promise<void>} act
 */
export async function attempt(act) {
  const buttons = [...document.querySelectorAll("button")].filter((button) => !button.disabled);
  for (const button of buttons) button.disabled = true;
  try {
    await act();
  } catch (error) {
    say("bad", reasonOf(error));
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function reasonOf(error) {
  if (!(error instanceof Error)) return "Something went wrong.";
  // The browser's own: it does not say more, so that pages learn nothing of a person's keys.
  if (error.name === "NotAllowedError")
    return "No passkey was used: it was cancelled, took too long, you were not verified, or none of yours is on this device.";
  if (error.name === "InvalidStateError") return "This authenticator holds a passkey of yours already.";
  if (error.name === "SecurityError")
    return `Passkeys do not work at ${location.origin}. Open this page under the address that the server is set to.`;
  return error.message.charAt(0).toUpperCase() + error.message.slice(1);
}

/**
 * Shows the form until a token is one that the server knows.
 * @param {(me: { id: string, roles: string[] }) => Promise<void>} then
 */
export function signIn(then) {
  const form = /** @type {HTMLFormElement} */ (byId("sign-in"));
  const input = /** @type {HTMLInputElement} */ (byId("token"));
  input.focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void attempt(async () => {
      const given = input.value.trim();
      // No header can carry anything else: the request would fail as if nobody were there.
      if (!/^[\x20-\x7e]*$/.test(given))
        throw new Error("A valid bearer token is needed: this has letters that none has.");
      token = given;
      const me = await call("GET", "/v1/me");
      input.value = "";
      form.hidden = true;
      byId("notice").hidden = true;
      await then(me);
    });
  });
  // Before there was somebody to listen, the browser would have sent the form by itself.
  for (const button of form.querySelectorAll("button")) button.disabled = false;
}
