import { attempt, byId, call, element, facts, say, signIn, time, visible } from "./page.js";
import { digestOf, signWithPasskey } from "./sign.js";

const id = /^\/grants\/([^/]+)$/.exec(location.pathname)?.[1];
/** @type {any} The grant as it is on the screen: its terms are what is signed. */
let shown;

signIn(async (me) => {
  if (id === undefined) return list();
  show(await call("GET", `/v1/standing-grants/${id}`));
  byId("approve").addEventListener("click", () => void attempt(() => approve(me)));
  byId("revoke").addEventListener("click", () => void attempt(revoke));
});

async function list() {
  const { grants, next } = await call("GET", "/v1/standing-grants?limit=100");
  const items = grants.map((/** @type {any} */ grant) => {
    const item = document.createElement("li");
    const { terms } = grant;
    const link = /** @type {HTMLAnchorElement} */ (element("a", `${terms.tool} by ${terms.team}/${terms.agent}`));
    link.href = `/grants/${encodeURIComponent(grant.id)}`;
    item.append(link, element("div", `${stateOf(grant)}, proposed by ${grant.proposedBy}, until ${time(terms.until)}`));
    return item;
  });
  if (items.length === 0) items.push(element("li", "Nothing is granted ahead."));
  if (next !== null) items.push(element("li", "There are more: countersign approvals grant list"));
  byId("grants").replaceChildren(...items);
  byId("list").hidden = false;
}

/** @param {any} grant */
function stateOf({ state, uses, terms }) {
  if (state === "proposed") return "waits to be approved";
  return state === "active" ? `active, used ${uses} of ${terms.uses}` : state.replace("_", " ");
}

/** @param {any} detail */
function show(detail) {
  shown = detail;
  const { grant, approvals } = detail;
  const { terms } = grant;
  byId("grant-title").textContent = `${terms.tool} by ${terms.team}/${terms.agent}`;
  facts("facts", [
    ["State", stateOf(grant)],
    ["Proposed by", `${grant.proposedBy}, ${time(grant.proposedAt)}`],
    ...(grant.state === "proposed" ? [["To be approved until", time(grant.expiresAt)]] : []),
    ...(grant.revokedAt === null ? [] : [["Ended by", `${grant.revokedBy}, ${time(grant.revokedAt)}`]]),
  ]);
  const rows = termsRows(terms);
  facts("terms", rows.terms);
  facts("targets", rows.targets);
  byId("requirements").replaceChildren(...rows.requirements.map((/** @type {string} */ text) => element("li", text)));
  const given = approvals.map((/** @type {any} */ one) => {
    const whom = one.insteadOf === null ? "" : ` for ${one.insteadOf}`;
    const how = one.kind === "webauthn" ? "passkey" : "key file";
    return element("li", `${one.reviewer}${whom} (${one.groups.join(", ")}), with a ${how}, ${time(one.at)}`);
  });
  byId("approvals").replaceChildren(...given);
  byId("approve").hidden = grant.state !== "proposed";
  byId("revoke").hidden = grant.state !== "proposed" && grant.state !== "active";
  byId("grant").hidden = false;
  byId("terms").focus();
}

/**
 * All of the terms, for reading: a member that is not known here is one that nobody would see, so it is refused.
 * @param {any} terms
 */
function termsRows(terms) {
  const {
    v,
    team,
    agent,
    tool,
    toolDigest,
    requirements,
    targets,
    unconstrained,
    uses,
    sum,
    from,
    until,
    reason,
    ...more
  } = terms;
  if (v !== 1 || Object.keys(more).length > 0) throw newer();
  return {
    terms: [
      ["Agent", `${team}/${agent}`],
      ["Tool", `${tool}, as it is now: ${toolDigest}`],
      ["Calls", `${uses} at the most`],
      ...(sum === undefined
        ? []
        : [["Sum", `${quoted(sum.argument)} adds up to ${sum.max} at the most, in all calls`]]),
      ["From", `${time(from)} (${from})`],
      ["Until", `just before ${time(until)} (${until})`],
      ["Because", quoted(reason)],
    ],
    targets: [
      ...targets.map((/** @type {any} */ target) => [quoted(target.argument), targetText(target)]),
      ...(sum === undefined ? [] : [[quoted(sum.argument), "is counted: see the sum"]]),
      ...unconstrained.map((/** @type {string} */ name) => [quoted(name), "UNCONSTRAINED: it may be anything"]),
    ],
    requirements: requirements.map(requirementText),
  };
}

/** @param {any} target */
function targetText({ argument: _argument, is, like, absent, ...more }) {
  if (Object.keys(more).length > 0) throw newer();
  if (absent === true) return "is not given";
  if (like !== undefined) return `is like ${quoted(like)}, or a list of such`;
  return typeof is === "string" ? `is ${quoted(is)}` : `is ${String(is)}`;
}

/** @param {any} requirement */
function requirementText({ policy, group, quorum, expiresMs, ...more }) {
  const rest = Object.entries(more).map(([name, value]) => `, ${name}: ${quoted(value)}`);
  const waits = `each asked for ${expiresMs / 60_000} minutes`;
  return `the approval that policy ${quoted(policy)} asks for: ${quorum} of ${quoted(group)}, ${waits}${rest.join("")}`;
}

function newer() {
  return new Error("These terms are of a later version than this page: approve them on the command line.");
}

/** @param {unknown} value */
function quoted(value) {
  return visible(JSON.stringify(value));
}

/**
 * Signs what is on the screen: the digest in the statement is of the terms that are shown here.
 * @param {{ id: string }} me
 */
async function approve(me) {
  const { grant, statement } = shown;
  const { team, agent, tool } = grant.terms;
  const signed = await signWithPasskey(me.id, { ...statement, team, agent, tool, terms: await digestOf(grant.terms) });
  show(await call("POST", `/v1/standing-grants/${grant.id}/approvals`, signed));
  const rest = shown.grant.state === "active" ? "It is active." : "More people must agree before it counts.";
  say("good", `Approved as ${me.id}. ${rest}`);
}

async function revoke() {
  const { grant } = shown;
  if (!confirm("End it, for good? What was done by it stays.")) return;
  const answer = await call("POST", `/v1/standing-grants/${grant.id}/revoke`);
  show({ ...shown, grant: answer.grant });
  say("good", "It is ended: no further step uses it.");
}
