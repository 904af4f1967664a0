import { z } from "zod";

import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { commitmentOf } from "../../store/canonical.ts";
import { erases } from "../erasure.ts";
import type { BundleFiles } from "./files.ts";
import type { Findings } from "./findings.ts";
import type { Leaf } from "./in-toto.ts";
import type { RunSection } from "./manifest.schema.ts";

const digest = z.string();
const nullable = z.string().nullable();

/** `runs/RUN/record.json`: what is recorded of a run beside contents, histories and ledger. Outline only where a later check compares all. */
const recordFile = z.strictObject({
  v: z.literal(1),
  run: z.looseObject({
    id: z.string(),
    team: z.string(),
    agent: z.string(),
    release: digest,
    input: digest,
    requestedBy: z.string(),
    status: z.string(),
    createdAt: z.string(),
    closedAt: nullable,
    failure: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
    result: nullable,
    steps: z.int(),
    spentMicroUsd: z.int(),
    workflowBundle: nullable,
    dataKey: z.string().optional(),
  }),
  salt: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  steps: z.array(
    z.looseObject({
      seq: z.int(),
      kind: z.string(),
      name: z.string(),
      action: z.string(),
      arguments: z.string(),
      askedBy: z.int().nullable(),
      callIndex: z.int().nullable(),
      callId: nullable,
      state: z.string(),
      result: nullable,
      costMicroUsd: z.int(),
      decidedAt: z.string(),
      finishedAt: nullable,
    }),
  ),
  decisions: z.array(
    z.looseObject({
      seq: z.int(),
      n: z.int(),
      activity: z.string(),
      outcome: z.string(),
      code: nullable,
      policies: z.array(z.string()),
      policySet: digest,
      facts: z.looseObject({}),
      request: z.string(),
      approval: nullable,
      effective: nullable,
      shadow: z.boolean(),
      at: z.string(),
    }),
  ),
  approvals: z.array(
    z.looseObject({
      id: z.string(),
      seq: z.int(),
      action: z.string(),
      state: z.string(),
      requirements: z.array(z.looseObject({ policy: z.string(), group: z.string(), quorum: z.int() })),
      openedAt: z.string(),
      expiresAt: z.string(),
      decisions: z.array(
        z.looseObject({
          reviewer: z.string(),
          decision: z.enum(["approve", "deny"]),
          statement: z.string(),
          keyId: z.string(),
          signature: z.string(),
          publicKey: z.string(),
        }),
      ),
    }),
  ),
  edits: z
    .array(
      z.looseObject({
        request: z.string(),
        successor: nullable,
        reviewer: z.string(),
        editors: z.array(z.string()),
        persons: z.array(z.string()),
        arguments: digest,
        action: digest,
        statement: z.string(),
        keyId: z.string(),
        signature: z.string(),
        publicKey: z.string(),
      }),
    )
    .optional(),
  standingGrants: z
    .array(
      z.looseObject({
        id: z.string(),
        terms: z.looseObject({}),
        expiresAt: z.string(),
        approvals: z.array(
          z.looseObject({
            reviewer: z.string(),
            person: z.string(),
            groups: z.array(z.string()),
            at: z.string(),
            statement: z.string(),
            keyId: z.string(),
            signature: z.string(),
            publicKey: z.string(),
            passkey: z.looseObject({ credentialId: z.string(), rpId: z.string(), origin: z.string() }).optional(),
            delegation: z
              .looseObject({
                id: z.string(),
                delegator: z.string(),
                person: z.string(),
                team: nullable,
                tool: nullable,
                maxAmount: z.int().nullable(),
                from: z.string(),
                until: z.string(),
              })
              .optional(),
          }),
        ),
        uses: z.array(
          z.looseObject({
            seq: z.int(),
            n: z.int(),
            amount: z.int(),
            total: z.int(),
            barred: z.array(z.looseObject({ person: z.string(), because: z.string() })),
            at: z.string(),
          }),
        ),
      }),
    )
    .optional(),
  resolutions: z
    .array(
      z.looseObject({
        id: z.string(),
        seq: z.int(),
        reviewer: z.string(),
        statement: z.string(),
        keyId: z.string(),
        signature: z.string(),
        publicKey: z.string(),
        at: z.string().optional(),
        person: z.string().optional(),
        barred: z.array(z.looseObject({ person: z.string(), because: z.string() })).optional(),
      }),
    )
    .optional(),
});

/** What stands for the input where contents are withheld. */
export const withheldInput = { prompt: "" } as const;

/**
 * A run's record put together again from the bundle: rows from its record file, entries from the proved leaves, and releases, policy sets
 * and contents from files that are named by their digests. Undefined where it cannot be, which is in `findings` then.
 */
export function readRun(
  files: BundleFiles,
  section: RunSection,
  {
    leaves,
    kept,
    note,
  }: { readonly leaves: readonly Leaf[]; readonly kept: readonly Leaf[]; readonly note: string | undefined },
  findings: Findings,
): RunRecord | undefined {
  const rows = files.parsed(section.record, recordFile);
  if (rows === undefined) return undefined;
  const { run } = rows;
  if (run.id !== section.run || run.team !== section.log) {
    findings.add("records", "record_differs", section.run, `its record is of run \`${run.id}\` of \`${run.team}\``);
    return undefined;
  }
  const release = addressed(files, "releases", run.release, findings);
  const of = (kind: LedgerEntry["kind"]) =>
    kept
      .filter(({ entry }) => entry.kind === kind && entry.facts["run"] === run.id)
      .map(({ index, leaf }) => ({ index, leaf }));
  const erasures = kept.filter(({ entry }) => erases(entry, run as RunRecord["run"]));
  // What was erased has left no salt behind.
  const erased = erasures.length > 0 && rows.salt === undefined;
  const contents = files.manifest.contents === "included" && !erased;
  const input = contents ? addressed(files, "payloads", run.input, findings, rows.salt) : withheldInput;
  if (release === undefined || input === undefined) return undefined;
  const sets = [...new Set(rows.decisions.map(({ policySet }) => policySet))];
  const policySets = sets.map((set) => [set, addressed(files, "policies", set, findings)] as const);
  const histories = section.histories.map(({ temporalRunId, file }) => ({ temporalRunId, history: files.json(file) }));
  if (policySets.some(([, set]) => set === undefined) || histories.some(({ history }) => history === undefined))
    return undefined;
  return {
    ...rows,
    release,
    input,
    policySets: Object.fromEntries(policySets),
    payloads: contents ? payloadsOf(files, rows, leaves, findings) : {},
    histories,
    ledger: {
      checkpoint: note ?? null,
      verifierKey: "",
      waiting: 0,
      entries: leaves.map(({ index, leaf }) => ({ index, leaf })),
      seals: of("history.sealed"),
      losses: of("history.lost"),
      erasures: erasures.map(({ index, leaf }) => ({ index, leaf })),
      grants: kept
        .filter(({ entry }) => (rows.standingGrants ?? []).some(({ id }) => id === entry.facts["grant"]))
        .map(({ index, leaf }) => ({ index, leaf })),
    },
  } as unknown as RunRecord;
}

/** A JSON file that is named by the digest of its bytes: of contents, under their run's salt. */
export function addressed(
  files: BundleFiles,
  folder: "releases" | "policies" | "payloads",
  name: string,
  findings: Findings,
  salt?: string,
): Json | undefined {
  const path = `${folder}/${name}.json`;
  if (!files.has(path)) {
    findings.add("contents", "content_missing", path);
    return undefined;
  }
  const bytes = files.bytes(path);
  if (bytes === undefined) return undefined;
  if (commitmentOf(salt, bytes) !== name) {
    findings.add("contents", "content_mismatch", path);
    return undefined;
  }
  return files.json(path);
}

/** All that the run's rows name and the bundle has: what is missing is found where it is needed. */
function payloadsOf(
  files: BundleFiles,
  rows: z.output<typeof recordFile>,
  leaves: readonly Leaf[],
  findings: Findings,
): Readonly<Record<Digest, Json>> {
  const rendered = leaves
    .filter(({ entry }) => entry.kind === "approval.requested")
    .map(({ entry }) => String(entry.facts["rendered"]));
  const said = [
    ...leaves
      .filter(({ entry }) => entry.kind === "approval.asked" || entry.kind === "approval.answered")
      .map(({ entry }) => entry.facts["content"]),
    ...(rows.edits ?? []).map((edit) => edit.arguments),
  ];
  const answers = rows.decisions.map(({ facts }) => (facts["response"] as { answer?: unknown } | undefined)?.answer);
  const named = [
    rows.run.input,
    rows.run.result,
    ...rows.steps.map((step) => step.result),
    ...answers,
    ...rendered,
    ...said,
  ];
  const found: Record<string, Json> = {};
  for (const name of new Set(named)) {
    if (typeof name !== "string" || !/^[0-9a-f]{64}$/.test(name)) continue;
    const value = addressed(files, "payloads", name, findings, rows.salt);
    if (value !== undefined) found[name] = value;
  }
  return found;
}
