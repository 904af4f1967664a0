import { createHash } from "node:crypto";

import { parseStatement } from "../../approvals/offline.ts";
import { formatUsd } from "../../core/money.ts";
import type { ApprovalRecord, DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import { timelineOf } from "../timeline.ts";
import type { LogFound } from "./logs.ts";
import type { Leaf } from "./in-toto.ts";
import type { Manifest } from "./manifest.schema.ts";
import { html, join, rows } from "./report-markup.ts";
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
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="generator" content="countersign report ${reportVersion}" />
        <title>Evidence: ${title}</title>
        <style>
          ${{ raw: reportStyle }}
        </style>
      </head>
      <body>
        <header>
          <p class="kind">Evidence bundle</p>
          <h1>${title}</h1>
          ${caseOf(manifest)}
          <dl class="facts">
            <div>
              <dt>Exported</dt>
              <dd>${manifest.createdAt}</dd>
            </div>
            <div>
              <dt>By</dt>
              <dd>${manifest.generator.name} ${manifest.generator.version}</dd>
            </div>
            <div>
              <dt>Contents</dt>
              <dd>${manifest.contents === "included" ? "included" : "withheld: digests stand for them"}</dd>
            </div>
            <div>
              <dt>Runs</dt>
              <dd>${String(runs.length)}</dd>
            </div>
          </dl>
          <p class="notice">
            <strong>This page proves nothing by itself.</strong> It shows what the bundle beside it holds. Whether that
            is so is told by <code>countersign verify DIR --trust trust.json</code>, which needs no server, and also
            checks that this page shows the bundle.
          </p>
        </header>
        <main>
          ${runs.length === 0 ? html`<section><p>There is no run in this bundle.</p></section>` : summary(runs)}
          ${join(runs.slice(0, runsInFull).map((run) => runSection(run, manifest.contents === "included")))}
          ${
            logs.length === 0
              ? ""
              : html`<section>
                  <h2>Ledger</h2>
                  ${join(logs.map(logSection))}
                </section>`
          }
        </main>
        <footer>
          <p>Times are UTC. Digests are SHA-256. Format: <code>${manifest.format}</code>.</p>
        </footer>
      </body>
    </html> `.raw;
}

function caseOf({ case: about }: Manifest): Markup {
  if (about === undefined) return html``;
  return html`${about.id === undefined ? "" : html`<p class="case">Case ${about.id}</p>`}
  ${about.note === undefined ? "" : html`<p class="note">${about.note}</p>`}`;
}

function summary(runs: readonly ReportedRun[]): Markup {
  const beyond = runs.length - runsInFull;
  return html`<section>
    <h2>Runs</h2>
    <table class="wide">
      <thead>
        <tr>
          <th>Run</th>
          <th>Agent</th>
          <th>Status</th>
          <th>Steps</th>
          <th>Approvals</th>
          <th>Cost</th>
          <th>Started</th>
        </tr>
      </thead>
      <tbody>
        ${rows(
          runs.map(({ record: { run, approvals } }) => [
            html`<code>${run.id}</code>`,
            `${run.team}/${run.agent}`,
            status(run.status),
            String(run.steps),
            String(approvals.length),
            formatUsd(run.spentMicroUsd),
            run.createdAt,
          ]),
        )}
      </tbody>
    </table>
    ${beyond > 0 ? html`<p>The last ${String(beyond)} have no section of their own here; the bundle has them whole.</p>` : ""}
  </section>`;
}

function runSection({ record, leaves }: ReportedRun, contents: boolean): Markup {
  const { run } = record;
  return html`<section class="run">
    <h2>Run <code>${run.id}</code> ${status(run.status)}</h2>
    <dl class="facts">
      <div>
        <dt>Agent</dt>
        <dd>${run.team}/${run.agent}</dd>
      </div>
      <div>
        <dt>Asked for by</dt>
        <dd>${run.requestedBy}</dd>
      </div>
      <div>
        <dt>Began</dt>
        <dd>${run.createdAt}</dd>
      </div>
      <div>
        <dt>Ended</dt>
        <dd>${run.closedAt ?? "still open"}</dd>
      </div>
      <div>
        <dt>Steps</dt>
        <dd>${String(run.steps)}</dd>
      </div>
      <div>
        <dt>Cost</dt>
        <dd>${formatUsd(run.spentMicroUsd)}</dd>
      </div>
      <div>
        <dt>Model</dt>
        <dd>${record.release.model.name}</dd>
      </div>
      <div>
        <dt>Release</dt>
        <dd><code>${run.release}</code></dd>
      </div>
      <div>
        <dt>Workflow code</dt>
        <dd><code>${run.workflowBundle ?? "none"}</code></dd>
      </div>
    </dl>
    ${run.failure === null ? "" : html`<p class="failure"><strong>${run.failure.code}</strong>: ${run.failure.message}</p>`}
    <details open>
      <summary>What happened</summary>
      ${contents ? timeline(record) : html`<p>Contents are withheld.</p>`}
    </details>
    <h3>Decisions</h3>
    ${decisions(record)}
    ${
      record.approvals.length === 0
        ? ""
        : html`<h3>Approvals</h3>
            ${join(record.approvals.map((request) => approval(request)))}`
    }
    <details>
      <summary>The agent's instructions</summary>
      <pre>${record.release.prompt}</pre>
    </details>
    <details>
      <summary>Ledger entries (${String(leaves.length)})</summary>
      ${entries(leaves)}
    </details>
  </section>`;
}

function timeline(record: RunRecord): Markup {
  return html`<ol class="timeline">
    ${join(
      timelineOf(record).map(
        ({ at, title, lines }) =>
          html`<li>
            <time>${at}</time>
            <div><strong>${title}</strong>${join(lines.map((line) => html`<p>${line}</p>`))}</div>
          </li>`,
      ),
    )}
  </ol>`;
}

function decisions({ decisions: made, steps }: RunRecord): Markup {
  if (made.length === 0) return html`<p>Nothing was decided.</p>`;
  return html`<table class="wide">
    <thead>
      <tr>
        <th>Step</th>
        <th>Call</th>
        <th>Decision</th>
        <th>Policies</th>
        <th>Policy set</th>
        <th>At</th>
      </tr>
    </thead>
    <tbody>
      ${rows(made.map((decision) => decisionRow(decision, steps)))}
    </tbody>
  </table>`;
}

function decisionRow(decision: DecisionRecord, steps: readonly StepRecord[]): readonly (Markup | string)[] {
  const step = steps.find(({ seq }) => seq === decision.seq);
  return [
    `${decision.seq}.${decision.n}`,
    html`${step?.kind ?? ""} <code>${step?.name ?? ""}</code>`,
    html`<span class="badge ${decision.outcome}">${decision.outcome.replace("_", " ")}</span> ${decision.code ?? ""}`,
    decision.policies.join(", "),
    html`<code>${decision.policySet.slice(0, 12)}</code>`,
    decision.at,
  ];
}

function approval(request: ApprovalRecord): Markup {
  const needs = request.requirements.map(({ quorum, group, policy }) => `${quorum} of ${group} (${policy})`).join(", ");
  return html`<article class="approval">
    <h4>Step ${String(request.seq)} <code>${request.id}</code> ${status(request.state)}</h4>
    <dl class="facts">
      <div>
        <dt>Needs</dt>
        <dd>${needs}</dd>
      </div>
      <div>
        <dt>Opened</dt>
        <dd>${request.openedAt}</dd>
      </div>
      <div>
        <dt>Expires</dt>
        <dd>${request.expiresAt}</dd>
      </div>
      <div>
        <dt>Action</dt>
        <dd><code>${request.action}</code></dd>
      </div>
    </dl>
    ${request.decisions.length === 0 ? html`<p>Nobody decided.</p>` : ""}${join(
      request.decisions.map(
        (signed) =>
          html`<p>
              <span class="badge ${signed.decision === "approve" ? "allow" : "deny"}"
                >${signed.decision === "approve" ? "approved" : "denied"}</span
              >
              by <strong>${signed.reviewer}</strong> with key <code>${signed.keyId}</code>${reasonOf(signed.statement)}
            </p>
            <details>
              <summary>What was signed</summary>
              <pre>${signed.statement}</pre>
              <p>Signature <code>${signed.signature}</code></p>
            </details>`,
      ),
    )}
  </article>`;
}

function reasonOf(statement: string): Markup {
  try {
    const { reason, issuedAt } = parseStatement(statement);
    return html`, ${issuedAt}${reason === "" ? "" : html`: “${reason}”`}`;
  } catch {
    return html``;
  }
}

function entries(leaves: readonly Leaf[]): Markup {
  return html`<table class="wide">
    <thead>
      <tr>
        <th>Index</th>
        <th>In the run</th>
        <th>Kind</th>
        <th>At</th>
        <th>Facts</th>
      </tr>
    </thead>
    <tbody>
      ${rows(
        leaves.map(({ index, entry }) => [
          String(index),
          String(entry.run?.seq ?? ""),
          html`<code>${entry.kind}</code>`,
          entry.at,
          html`<code class="facts-text">${JSON.stringify(entry.facts)}</code>`,
        ]),
      )}
    </tbody>
  </table>`;
}

function logSection({ section, note, entries: count }: LogFound): Markup {
  return html`<article>
    <h3>Log <code>${section.log}</code></h3>
    <p>
      ${String(count)} ${section.coverage === "full" ? "leaves: the whole log" : "leaves, each with its proof"}. The
      signed checkpoint:
    </p>
    <pre>${note ?? "none"}</pre>
  </article>`;
}

function status(state: string): Markup {
  const tone = ["completed", "consumed", "approved"].includes(state)
    ? "allow"
    : ["failed", "denied", "expired"].includes(state)
      ? "deny"
      : "plain";
  return html`<span class="badge ${tone}">${state}</span>`;
}
