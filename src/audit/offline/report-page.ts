import { createHash } from "node:crypto";

import { parseStatement } from "../../approvals/offline.ts";
import { formatUsd } from "../../core/money.ts";
import type { ApprovalRecord, DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import { timelineOf } from "../timeline.ts";
import type { LogFound } from "./logs.ts";
import type { Leaf } from "./in-toto.ts";
import type { Manifest } from "./manifest.schema.ts";
import { join, markup, rows } from "./report-markup.ts";
import type { Markup } from "./report-markup.ts";
import { reportStyle } from "./report-style.ts";

/** Raised with every change of what a page shows: a verifier compares a page with its own only where both are of one version. */
export const reportVersion = "1";

/** Runs beyond these are in the table, without a section of their own. */
const runsInFull = 200;

export type ReportedRun = { readonly record: RunRecord; readonly leaves: readonly Leaf[] };

/**
 * The bundle as one page for people: static, without scripts, links or anything to load, everything that others wrote escaped. It follows
 * from the bundle's other files alone, so that a verifier makes it again and compares. It proves nothing by itself, and says so.
 */
export function reportPage(manifest: Manifest, logs: readonly LogFound[], runs: readonly ReportedRun[]): string {
  const hash = createHash("sha256").update(reportStyle).digest("base64");
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const title =
    manifest.case?.title ?? (runs.length === 1 ? `Run ${runs[0]?.record.run.id ?? ""}` : `${runs.length} runs`);
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="countersign report ${reportVersion}">
<title>Evidence: ${title}</title>
<style>${{ raw: reportStyle }}</style>
</head>
<body>
<header>
<p class="kind">Evidence bundle</p>
<h1>${title}</h1>
${caseOf(manifest)}
${facts([
  ["Exported", manifest.createdAt],
  ["By", `${manifest.generator.name} ${manifest.generator.version}`],
  ["Contents", manifest.contents === "included" ? "included" : "withheld: digests stand for them"],
  ["Runs", String(runs.length)],
])}
<p class="notice"><strong>This page proves nothing by itself.</strong> It shows what the bundle beside it holds. Whether that is so is
told by <code>countersign verify DIR --trust trust.json</code>, which needs no server, and also checks that this page shows the bundle.</p>
</header>
<main>
${runs.length === 0 ? markup`<section><p>There is no run in this bundle.</p></section>` : summary(runs)}
${join(runs.slice(0, runsInFull).map((run) => runSection(run, manifest.contents === "included")))}
${logs.length === 0 ? "" : markup`<section><h2>Ledger</h2>${join(logs.map(logSection))}</section>`}
</main>
<footer><p>Times are UTC. Digests are SHA-256. Format: <code>${manifest.format}</code>.</p></footer>
</body>
</html>
`.raw;
}

/** Short facts in columns. */
function facts(given: readonly (readonly [string, string | Markup])[]): Markup {
  return markup`<dl class="facts">${join(
    given.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`),
  )}</dl>`;
}

function table(head: readonly string[], cells: readonly (readonly (string | Markup)[])[]): Markup {
  const names = join(head.map((name) => markup`<th>${name}</th>`));
  return markup`<table class="wide"><thead><tr>${names}</tr></thead><tbody>${rows(cells)}</tbody></table>`;
}

function caseOf({ case: about }: Manifest): Markup {
  if (about === undefined) return markup``;
  return markup`${about.id === undefined ? "" : markup`<p class="case">Case ${about.id}</p>`}
${about.note === undefined ? "" : markup`<p class="note">${about.note}</p>`}`;
}

function summary(runs: readonly ReportedRun[]): Markup {
  const beyond = runs.length - runsInFull;
  const cells = runs.map(({ record: { run, approvals } }) => [
    markup`<code>${run.id}</code>`,
    `${run.team}/${run.agent}`,
    status(run.status),
    String(run.steps),
    String(approvals.length),
    formatUsd(run.spentMicroUsd),
    run.createdAt,
  ]);
  return markup`<section><h2>Runs</h2>
${table(["Run", "Agent", "Status", "Steps", "Approvals", "Cost", "Began"], cells)}
${beyond > 0 ? markup`<p>The last ${String(beyond)} have no section of their own here; the bundle has them whole.</p>` : ""}</section>`;
}

function runSection({ record, leaves }: ReportedRun, contents: boolean): Markup {
  const { run } = record;
  return markup`<section class="run"><h2>Run <code>${run.id}</code> ${status(run.status)}</h2>
${facts([
  ["Agent", `${run.team}/${run.agent}`],
  ["Asked for by", run.requestedBy],
  ["Began", run.createdAt],
  ["Ended", run.closedAt ?? "still open"],
  ["Steps", String(run.steps)],
  ["Cost", formatUsd(run.spentMicroUsd)],
  ["Model", record.release.model.name],
  ["Release", markup`<code>${run.release}</code>`],
  ["Workflow code", markup`<code>${run.workflowBundle ?? "none"}</code>`],
])}
${run.failure === null ? "" : markup`<p class="failure"><strong>${run.failure.code}</strong>: ${run.failure.message}</p>`}
<details open><summary>What happened</summary>${contents ? timeline(record) : markup`<p>Contents are withheld.</p>`}</details>
<h3>Decisions</h3>${decisions(record)}
${record.approvals.length === 0 ? "" : markup`<h3>Approvals</h3>${join(record.approvals.map((request) => approval(request)))}`}
<details><summary>The agent's instructions</summary><pre>${record.release.prompt}</pre></details>
<details><summary>Ledger entries (${String(leaves.length)})</summary>${entries(leaves)}</details>
</section>`;
}

function timeline(record: RunRecord): Markup {
  const items = timelineOf(record).map(({ at, title, lines }) => {
    const told = join(lines.map((line) => markup`<p>${line}</p>`));
    return markup`<li><time>${at}</time><div><strong>${title}</strong>${told}</div></li>`;
  });
  return markup`<ol class="timeline">${join(items)}</ol>`;
}

function decisions({ decisions: made, steps }: RunRecord): Markup {
  if (made.length === 0) return markup`<p>Nothing was decided.</p>`;
  return table(
    ["Step", "Call", "Decision", "Policies", "Policy set", "At"],
    made.map((decision) => decisionRow(decision, steps)),
  );
}

function decisionRow(decision: DecisionRecord, steps: readonly StepRecord[]): readonly (Markup | string)[] {
  const step = steps.find(({ seq }) => seq === decision.seq);
  return [
    `${decision.seq}.${decision.n}`,
    markup`${step?.kind ?? ""} <code>${step?.name ?? ""}</code>`,
    markup`<span class="badge ${decision.outcome}">${decision.outcome.replace("_", " ")}</span> ${decision.code ?? ""}`,
    decision.policies.join(", "),
    markup`<code>${decision.policySet.slice(0, 12)}</code>`,
    decision.at,
  ];
}

function approval(request: ApprovalRecord): Markup {
  const needs = request.requirements.map(({ quorum, group, policy }) => `${quorum} of ${group} (${policy})`).join(", ");
  return markup`<article class="approval"><h4>Step ${String(request.seq)} <code>${request.id}</code> ${status(request.state)}</h4>
${facts([
  ["Needs", needs],
  ["Opened", request.openedAt],
  ["Expires", request.expiresAt],
  ["Action", markup`<code>${request.action}</code>`],
])}
${request.decisions.length === 0 ? markup`<p>Nobody decided.</p>` : join(request.decisions.map(signedDecision))}</article>`;
}

function signedDecision(signed: ApprovalRecord["decisions"][number]): Markup {
  const [tone, word] = signed.decision === "approve" ? ["allow", "approved"] : ["deny", "denied"];
  return markup`<p><span class="badge ${tone}">${word}</span> by <strong>${signed.reviewer}</strong>${reasonOf(signed.statement)}</p>
<p class="key">Key <code>${signed.keyId}</code></p>
<details><summary>What was signed</summary><pre>${signed.statement}</pre><p class="key">Signature <code>${signed.signature}</code></p></details>`;
}

function reasonOf(statement: string): Markup {
  try {
    const { reason, issuedAt } = parseStatement(statement);
    return markup`, ${issuedAt}${reason === "" ? "" : markup`: “${reason}”`}`;
  } catch {
    return markup``;
  }
}

function entries(leaves: readonly Leaf[]): Markup {
  const cells = leaves.map(({ index, entry }) => [
    String(index),
    String(entry.run?.seq ?? ""),
    markup`<code>${entry.kind}</code>`,
    entry.at,
    markup`<code class="facts-text">${JSON.stringify(entry.facts)}</code>`,
  ]);
  return table(["Index", "In the run", "Kind", "At", "Facts"], cells);
}

function logSection({ section, note, entries: count }: LogFound): Markup {
  return markup`<article><h3>Log <code>${section.log}</code></h3>
<p>${String(count)} ${section.coverage === "full" ? "leaves: the whole log" : "leaves, each with its proof"}. The signed checkpoint:</p>
<pre>${note ?? "none"}</pre></article>`;
}

function status(state: string): Markup {
  const tone = ["completed", "consumed", "approved"].includes(state)
    ? "allow"
    : ["failed", "denied", "expired"].includes(state)
      ? "deny"
      : "plain";
  return markup`<span class="badge ${tone}">${state}</span>`;
}
