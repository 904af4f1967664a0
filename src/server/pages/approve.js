import { showContext } from "./context.js";
import { attempt, byId, call, element, facts, say, signIn, time } from "./page.js";
import { contentDigest, signWithPasskey } from "./sign.js";

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
  facts("facts", [
    ["State", request.state],
    ["Run", `${request.run}, step ${request.seq}`],
    ["Asked for by", request.requestedBy],
    ["Needs", needs.join("; ")],
    ["Decided", decided.join("; ") || "by nobody yet"],
    ...(request.editors.length === 0 ? [] : [["Changed by", request.editors.join(", ")]]),
    ["Expires", time(request.expiresAt)],
  ]);
  showRendered(request.rendered);
  showContext(request);
  byId("decide").hidden = request.state !== "pending";
  byId("request").hidden = false;
  if (request.state !== "pending") say("info", `This request is ${request.state}: there is nothing to decide.`);
  byId("rendered").focus();
}

/**
 * All of the action, in a box that says how much of it there is: what is below its edge is signed too.
 * @param {string} text
 */
function showRendered(text) {
  const box = byId("rendered");
  if (box.textContent === text) return;
  const parts = text.split(/(?<=\n)/);
  box.replaceChildren(...parts.map(lineOf));
  box.classList.remove("whole");
  box.classList.toggle("huge", text.length > 50_000);
  byId("rendered-length").textContent =
    `There is more than fits here: ${parts.length} lines, ${text.length.toLocaleString()} characters. All of it would be done.`;
  byId("show-whole").onclick = () => {
    box.classList.add("whole");
    byId("rendered-more").hidden = true;
    box.focus();
  };
  // Measured once it has its place.
  requestAnimationFrame(() => {
    const longer = box.scrollHeight > box.clientHeight + 1;
    box.classList.toggle("longer", longer);
    byId("rendered-more").hidden = !longer;
  });
}

/**
 * One line, with its end: where it is too long for the page, what goes on below is marked, and cannot pass for a line of its own.
 * @param {string} text
 */
function lineOf(text) {
  const line = element("span", text);
  line.className = "line";
  return line;
}

/**
 * Signs what is on the screen: the digest in the statement is of the text that is shown here.
 * @param {{ id: string }} me
 * @param {any} request
 * @param {string} decision
 */
async function decide(me, request, decision) {
  const signed = await signWithPasskey(me.id, {
    ...request.statement,
    rendered: await contentDigest(request.salt, JSON.stringify(byId("rendered").textContent)),
    decision,
    reason: /** @type {HTMLTextAreaElement} */ (byId("reason")).value.trim(),
  });
  const answer = await call("POST", `/v1/approvals/${request.id}/decisions`, signed);
  show({ ...request, ...answer.approval });
  const word = decision === "approve" ? "Approved" : "Denied";
  const rest = answer.approval.state === "pending" ? " More people must agree before it happens." : "";
  say("good", `${word} as ${me.id}.${rest}`);
}
