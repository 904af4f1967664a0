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
    (/** @type {any} */ one) => `${one.reviewer}: ${one.decision === "approve" ? "approved" : "denied"}`,
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
  byId("rendered").textContent = request.rendered;
  showContext(request);
  byId("decide").hidden = request.state !== "pending";
  byId("request").hidden = false;
  if (request.state !== "pending") say("info", `This request is ${request.state}: there is nothing to decide.`);
  byId("rendered").focus();
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
