import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Trust } from "../../src/audit/offline/index.ts";
import { createSigner, parseNote, signNote } from "../../src/ledger/proof/index.ts";
import { nextKey, retired } from "./attacks/log.ts";
import { erased } from "./attacks/insider.ts";
import { addPeople, delegated, insider } from "./attacks/attack.ts";
import { cosignedInOrder } from "./attacks/cosigned.ts";
import type { EvidenceDraft } from "./evidence-draft.ts";
import { cosign, witness } from "./evidence-witness.ts";
import { bundleNames } from "./genuine-evidence.ts";
import type { BundleName, GenuineEvidence } from "./genuine-evidence.ts";
import { oddLogs } from "./odd-logs.ts";
import { oddPapers } from "./odd-papers.ts";

/** A bundle that looks unusual, and is in order. */
export type Oddity = {
  readonly oddity: string;
  readonly base: BundleName;
  readonly change?: (draft: EvidenceDraft, world: GenuineEvidence) => unknown;
  readonly trust?: (trust: Trust) => Trust;
  readonly pinned?: (world: GenuineEvidence, draft: EvidenceDraft) => readonly string[];
  readonly runs?: (world: GenuineEvidence) => readonly string[];
  /** The folder to verify, where it is not the one written. */
  readonly folder?: (root: string) => string;
};

const leaveOut = (draft: EvidenceDraft, path: string | undefined): void => {
  if (path !== undefined) draft.files.delete(path);
};

/** What may be done to any bundle. */
const everywhere: readonly Omit<Oddity, "base">[] = [
  { oddity: "without the page", change: (d) => (leaveOut(d, d.manifest.report), delete d.manifest.report) },
  {
    oddity: "without statements",
    change: (d) => d.manifest.runs.forEach((run) => (leaveOut(d, run.statement), delete run.statement)),
  },
  {
    oddity: "without histories",
    change: (d) => {
      for (const run of d.manifest.runs) {
        for (const { file } of run.histories) leaveOut(d, file);
        run.histories = [];
      }
    },
  },
  {
    oddity: "with files beside it that nobody names",
    change: (d) =>
      d.after.push(
        (root) => writeFileSync(join(root, ".DS_Store"), "x"),
        (root) => writeFileSync(join(root, "trust.json"), "{}"),
      ),
  },
  {
    oddity: "with a signature of a key that nobody knows",
    change: (d) => {
      for (const { origin, checkpoint } of d.manifest.logs) {
        const { text } = parseNote(d.text(checkpoint));
        const line = signNote(text, [createSigner(`${origin}-next`, Buffer.alloc(32, 5))]).slice(text.length + 1);
        d.put(checkpoint, `${d.text(checkpoint)}${line}`);
      }
    },
  },
  {
    oddity: "with an addition that may be passed over",
    change: (d) => (d.manifest.extra["ünïcode"] = { 猫: [1, null] }),
  },
  {
    oddity: "with a witness's signature, which is asked for",
    change: (d) => d.manifest.logs.forEach(({ log }) => cosign(d, log)),
    trust: (t) => ({ ...t, witnesses: { keys: [witness.verifierKey], quorum: 1 } }),
  },
  {
    oddity: "with signatures of two keys that both count",
    change: (d) => {
      for (const { log, checkpoint } of d.manifest.logs) {
        if (log !== "shop") continue;
        const { text } = parseNote(d.text(checkpoint));
        d.put(checkpoint, `${d.text(checkpoint)}${signNote(text, [nextKey]).slice(text.length + 1)}`);
      }
    },
    trust: (t) => ({
      ...t,
      logs: { ...t.logs, shop: { verifierKeys: [nextKey.verifierKey, ...t.logs["shop"]!.verifierKeys] } },
    }),
  },
  {
    oddity: "under a key that was retired since, cosigned in the time that is asked for",
    change: (d) => d.manifest.logs.forEach(({ log }) => cosign(d, log)),
    trust: (t) => ({
      ...retired(t, 100_000),
      witnesses: { keys: [witness.verifierKey], quorum: 1 },
      maxAgeHours: 1_000_000,
    }),
  },
  {
    oddity: "with every checkpoint pinned",
    pinned: (_, d) => d.manifest.logs.map(({ checkpoint }) => d.text(checkpoint)),
  },
  {
    oddity: "with folders of other things beside it",
    change: (d) =>
      d.after.push((root) => {
        mkdirSync(join(root, "notes", "empty"), { recursive: true });
        writeFileSync(join(root, "notes", "of an auditor.txt"), "looked at");
      }),
  },
  {
    oddity: "of a case in other scripts",
    change: (d) => (d.manifest.case = { id: "№ 7", title: "الحالة \u202E 猫", note: "<script>" }),
  },
];

const once: readonly Oddity[] = [
  {
    oddity: "a log under a new key, grown out of the last checkpoint under the stolen one",
    base: "whole",
    change: (d) => d.sign("shop", nextKey),
    trust: (t) => retired(t, 100_000),
    pinned: (w) => [w.pinned],
  },
  {
    oddity: "a bundle of before the theft, whose very checkpoint was kept",
    base: "whole",
    trust: (t) => retired(t, 100_000),
    pinned: (_, d) => [d.text("logs/shop/checkpoint")],
  },
  {
    oddity: "a bundle of before the theft, cosigned then",
    base: "whole",
    change: (d) => d.manifest.logs.forEach(({ log }) => cosign(d, log)),
    trust: (t) => ({ ...retired(t, 100_000), witnesses: { keys: [witness.verifierKey], quorum: 1 } }),
  },
  {
    oddity: "a log that two keys sign while one is replaced",
    base: "whole",
    change: (d, w) => d.sign("shop", insider(w), nextKey),
  },
  {
    oddity: "cosigned in the time that is asked for",
    base: "whole",
    change: (d) => d.manifest.logs.forEach(({ log }) => cosign(d, log)),
    trust: (t) => ({
      ...t,
      witnesses: { keys: [witness.verifierKey], quorum: 1 },
      maxAgeHours: 1_000_000,
      require: ["witnesses"],
    }),
  },
  {
    oddity: "with the runs that the auditor asks for",
    base: "everything",
    runs: (w) => [w.runs.twin, w.runs.cancelled],
    trust: (t) => ({ ...t, require: ["statements", "histories"] }),
  },
  {
    oddity: "the same seal of a history twice",
    base: "whole",
    change: (d, w) =>
      d.relog(
        "shop",
        (es) => {
          const sealed = es.find((e) => e.kind === "history.sealed" && e.facts.run === w.runs.approved);
          es.push({ ...structuredClone(sealed), dedupKey: "sealed/again" });
        },
        insider(w),
      ),
  },
  {
    oddity: "contents of one run erased",
    base: "whole",
    change: (d, w) => erased(d, w, w.runs.denied),
  },
  {
    oddity: "a call that had waited for a witness",
    base: "whole",
    change: cosignedInOrder.change,
    trust: cosignedInOrder.trust,
  },
  {
    oddity: "an approval for somebody else, who had delegated it",
    base: "whole",
    change: (d, w) => addPeople(d, w, [{ kind: "delegation.granted", facts: delegated(d, w) }]),
  },
  {
    oddity: "a whole log, led back to an earlier pin",
    base: "whole",
    pinned: (w, d) => [w.pinned, d.text("logs/people/checkpoint")],
    trust: (t) => ({ ...t, require: ["pinned", "whole-log"] }),
  },
  { oddity: "a selection that brings the earlier checkpoint along", base: "pinned", pinned: (w) => [w.pinned] },
  { oddity: "the same, where nothing is pinned", base: "pinned" },
  { oddity: "a pin of the very same checkpoint", base: "withheld", pinned: (_, d) => [d.text("logs/shop/checkpoint")] },
  {
    oddity: "pins of both logs, and one of a log that is not here",
    base: "whole",
    trust: (t) => ({
      ...t,
      logs: {
        ...t.logs,
        elsewhere: { verifierKeys: [createSigner("elsewhere", Buffer.alloc(32, 1)).verifierKey] },
      },
    }),
    pinned: (w, d) => [
      w.pinned,
      d.text("logs/people/checkpoint"),
      signNote(`elsewhere\n5\n${Buffer.alloc(32).toString("base64")}\n`, [
        createSigner("elsewhere", Buffer.alloc(32, 1)),
      ]),
    ],
  },
  {
    oddity: "an auditor who does not know the groups",
    base: "withheld",
    trust: (t) => ({ ...t, approvers: t.approvers.map(({ groups: _groups, ...rest }) => rest) }),
  },
  {
    oddity: "a key with a time in which it counts",
    base: "withheld",
    trust: (t) => ({
      ...t,
      approvers: t.approvers.map((one) => ({
        ...one,
        from: "2001-01-01T00:00:00.000Z",
        until: "2099-01-01T00:00:00.000Z",
      })),
    }),
  },
  {
    oddity: "a log with a key of before as well",
    base: "withheld",
    trust: (t) => ({
      ...t,
      logs: {
        ...t.logs,
        shop: {
          verifierKeys: [
            createSigner("localhost/ledger/shop", Buffer.alloc(32, 3)).verifierKey,
            ...t.logs["shop"]!.verifierKeys,
          ],
        },
      },
    }),
  },
  {
    oddity: "all that can be required, of a bundle that has it",
    base: "whole",
    pinned: (w, d) => [w.pinned, d.text("logs/people/checkpoint")],
    trust: (t) => ({ ...t, require: ["contents", "decisions", "histories", "statements", "pinned", "whole-log"] }),
  },
  {
    oddity: "without the workflow code",
    base: "selected",
    change: (d) => [...d.files.keys()].filter((name) => name.startsWith("code/")).forEach((name) => leaveOut(d, name)),
  },
  {
    oddity: "a page of a later version",
    base: "withheld",
    change: (d) => {
      d.keepsReport = true;
      d.put("report.html", d.text("report.html").replace(/countersign report \d+/, "countersign report 99"));
    },
  },
  {
    oddity: "in a folder with another name",
    base: "withheld",
    change: (d) => d.after.push((root) => renameSync(root, `${root} ünï 猫`)),
    folder: (root) => `${root} ünï 猫`,
  },
  {
    oddity: "in a folder that is reached by a link",
    base: "withheld",
    change: (d) => d.after.push((root) => symlinkSync(root, `${root}-link`)),
    folder: (root) => `${root}-link/`,
  },
  {
    oddity: "files under other names",
    base: "withheld",
    change: (d, w) => {
      const section = d.section(w.runs.approved);
      d.put("elsewhere/a.json", d.text(section.record));
      leaveOut(d, section.record);
      section.record = "elsewhere/a.json";
    },
  },
  { oddity: "runs in the other order", base: "everything", change: (d) => d.manifest.runs.reverse() },
  { oddity: "logs in the other order", base: "everything", change: (d) => d.manifest.logs.reverse() },
  { oddity: "fewer runs than its log has leaves of", base: "withheld", change: (d) => d.manifest.runs.splice(1) },
];

export const oddities: readonly Oddity[] = [
  ...bundleNames.flatMap((base) => everywhere.map((one) => ({ ...one, base }))),
  ...once,
  ...oddLogs,
  ...oddPapers,
];
