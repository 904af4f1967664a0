import { byId, element, time } from "./page.js";

/**
 * What helps to decide, beside the text that is signed. Nothing of it binds. All of it is set as text: most was written by a model, or by
 * whoever the agent read.
 * @param {any} request
 */
export function showContext(request) {
  const { context } = request;
  showReasons(context);
  showSources(context);
  showMessages(request.messages);
  showConversation(context);
  showSimilar(context.similar);
  const { cost } = context;
  byId("cost").textContent =
    `${cost.steps} of ${cost.maxSteps} steps, ${dollars(cost.spentMicroUsd)} of ${dollars(cost.maxMicroUsd)} spent` +
    (cost.heldMicroUsd === 0 ? "" : `, ${dollars(cost.heldMicroUsd)} held`);
}

/** @param {any} context */
function showReasons({ policies, flags }) {
  fill("reasons", [
    ...policies.map((/** @type {any} */ one) =>
      item(one.reason === "" ? `Policy ${one.policy}` : `${one.reason} (policy ${one.policy})`),
    ),
    ...flags.map((/** @type {string} */ flag) => item(flag, "warning")),
  ]);
}

/** What the origin of an argument says, in the reader's words. */
const origins = new Map([
  ["user", "the user"],
  ["operator", "the operator"],
  ["trusted", "a trusted tool"],
  ["derived", "made by the model"],
  ["untrusted", "untrusted text"],
]);

/** @param {any} context */
function showSources({ sources, searchedAll }) {
  const rows = sources.map((/** @type {any} */ one) => {
    const row = document.createElement("tr");
    row.append(
      cell("", one.path),
      valueCell(one.path, one.value),
      cell("From", origins.get(one.origin) ?? one.origin),
      cell("Stands in", one.places.join("; ") || "nowhere: the model made it"),
    );
    if (one.origin === "untrusted") row.className = "untrusted";
    return row;
  });
  byId("sources").replaceChildren(...rows);
  byId("sources-table").hidden = rows.length === 0;
  byId("sources-note").textContent =
    rows.length === 0
      ? "The call has no values, or they are not here any more."
      : searchedAll
        ? ""
        : "There was too much text: the oldest was not looked at.";
}

/**
 * @param {string} label what a narrow page puts before it
 * @param {string} text
 */
function cell(label, text) {
  const made = element("td", text);
  if (label !== "") made.dataset["label"] = label;
  return made;
}

/**
 * A long value scrolls in its place, by keyboard too.
 * @param {string} path
 * @param {string} value
 */
function valueCell(path, value) {
  const made = cell("", "");
  const shown = element("span", value);
  shown.className = "value";
  if (value.length > 200) {
    shown.tabIndex = 0;
    shown.setAttribute("role", "region");
    shown.setAttribute("aria-label", `Value of ${path}`);
  }
  made.append(shown);
  return made;
}

/** @param {any[]} messages */
function showMessages(messages) {
  byId("messages-part").hidden = messages.length === 0;
  fill(
    "messages",
    messages.map(({ author, kind, at, text }) => {
      const said = document.createElement("li");
      said.append(
        element("p", `${author} ${kind === "question" ? "asked" : "answered"}, ${time(at)}`),
        quote(text ?? "erased"),
      );
      return said;
    }),
  );
}

/** @param {any} context */
function showConversation({ conversation, leftOut }) {
  byId("left-out").textContent =
    leftOut === 0 ? "" : `${leftOut} earlier messages are not here: countersign run show has them.`;
  fill("conversation", conversation.map(messageOf));
}

/** @param {any} message */
function messageOf(message) {
  const said = document.createElement("li");
  const who = message.by === "tool" ? `Tool ${message.tool ?? ""}` : message.by;
  const head = element("p", message.step === null ? who : `${who}, step ${message.step}`);
  head.className = "by";
  if (message.untrusted) {
    said.className = "untrusted";
    const mark = element("span", "untrusted");
    mark.className = "mark";
    head.append(" ", mark);
  }
  said.append(head);
  if (message.note !== "") {
    const note = element("p", message.note);
    note.className = "warning";
    said.append(note);
  }
  said.append(quote(message.text ?? "erased"));
  if (message.cut) said.append(element("p", `… ${message.characters} characters in all`));
  return said;
}

/** @param {any} similar */
function showSimilar({ states, reviewers, last }) {
  const counts = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  fill("similar", [
    item(counts.length === 0 ? "Nobody was asked about this tool before." : `So far: ${counts.join(", ")}`),
    ...reviewers.map((/** @type {any} */ one) =>
      item(`${one.reviewer} approved ${one.approved} and denied ${one.denied}`),
    ),
    ...last.map((/** @type {any} */ one) => {
      const row = document.createElement("li");
      const link = /** @type {HTMLAnchorElement} */ (element("a", one.id));
      link.href = `/approve/${encodeURIComponent(one.id)}`;
      row.append(link, `: ${one.state}, ${time(one.decidedAt)}, by ${one.reviewers.join(", ") || "nobody"}`);
      return row;
    }),
  ]);
}

/**
 * @param {string} id
 * @param {HTMLElement[]} items
 */
function fill(id, items) {
  byId(id).replaceChildren(...items);
}

/**
 * @param {string} text
 * @param {string} [kind]
 */
function item(text, kind = "") {
  const made = element("li", text);
  made.className = kind;
  return made;
}

/**
 * Somebody's words, as they are.
 * @param {string} text
 */
function quote(text) {
  const made = element("pre", text);
  made.className = "quote";
  return made;
}

/** @param {number} microUsd */
function dollars(microUsd) {
  return `$${(microUsd / 1_000_000).toFixed(microUsd % 10_000 === 0 ? 2 : 6)}`;
}
