import {
  formatCheckpoint,
  leafHash,
  rootOf,
  consistencyProof,
  hexOf,
  signNote,
} from "../../../src/ledger/proof/index.ts";
import type { Trust } from "../../../src/audit/offline/index.ts";
import { canonicalText } from "../../../src/store/canonical.ts";
import type { EvidenceDraft } from "../evidence-draft.ts";
import { cosignNote, witness } from "../evidence-witness.ts";
import type { GenuineEvidence } from "../genuine-evidence.ts";
import { far, insider, ofStep, placeOf, shop } from "./attack.ts";
import type { Attack } from "./attack.ts";

const seq = 3;
const trust = (t: Trust): Trust => ({ ...t, witnesses: { keys: [witness.verifierKey], quorum: 0 } });

/**
 * A call of the approved run as if it had had to wait for a witness, everywhere. `checkpoint`: the size that it is told to have been made on,
 * by its places in the log; `brought`: how that checkpoint is brought along.
 */
function waited(
  draft: EvidenceDraft,
  world: GenuineEvidence,
  checkpoint: (intent: number, result: number) => number | undefined,
  brought?: (note: string) => string,
): void {
  const run = world.runs.approved;
  let size: number | undefined;
  draft.relog(
    shop,
    (entries) => {
      const intent = placeOf(entries, ofStep("step.intent", run, seq));
      const result = placeOf(entries, ofStep("step.result", run, seq));
      const decided = placeOf(entries, (e) => ofStep("step.decided", run, seq)(e) && e.facts.outcome === "allow");
      Object.assign(entries[decided].facts, { witnesses: 1, cosignBy: far });
      size = checkpoint(intent, result);
      if (size !== undefined) entries[result].facts.checkpoint = size;
    },
    insider(world),
  );
  draft.edit(draft.record(run), (record) => {
    const { n } = record.decisions.findLast((one: { seq: number }) => one.seq === seq);
    const decision = record.decisions.find((one: { seq: number; n: number }) => one.seq === seq && one.n === n);
    Object.assign(decision, { witnesses: 1, cosignBy: far });
    const step = record.steps.find((one: { seq: number }) => one.seq === seq);
    Object.assign(step, { cosigning: "covered", coveredSize: size ?? null });
  });
  // What the policy says of it is another matter, and found by deciding again.
  draft.manifest.contents = "withheld";
  for (const path of draft.files.keys()) if (path.startsWith("payloads/")) draft.files.delete(path);
  if (size === undefined || brought === undefined) return;
  const hashes = draft.leaves(shop).map((leaf) => leafHash(Buffer.from(leaf)));
  const section = draft.log(shop);
  const root = rootOf(hashes.slice(0, size));
  const note = signNote(formatCheckpoint({ origin: section.origin, size, root }), [insider(world)]);
  const old = { size, checkpoint: `logs/${shop}/old/c`, consistency: `logs/${shop}/old/c.json` };
  draft.put(old.checkpoint, brought(note));
  const path = consistencyProof(hashes, size).map(hexOf);
  draft.put(old.consistency, canonicalText({ v: 1, from: size, to: hashes.length, path }));
  section.old.push(old);
}

/** Calls that had to wait until a witness had cosigned their intents. */
export const cosignedAttacks: readonly Attack[] = [
  {
    attack: "a call that had to wait for a witness, made without a checkpoint",
    base: "whole",
    code: "not_cosigned",
    trust,
    tamper: (d, w) => waited(d, w, () => undefined),
  },
  {
    attack: "made on a checkpoint from before its intent",
    base: "whole",
    code: "not_cosigned",
    trust,
    tamper: (d, w) => waited(d, w, (intent) => intent, cosignNote),
  },
  {
    attack: "made on a checkpoint that came after its end",
    base: "whole",
    code: "not_cosigned",
    trust,
    tamper: (d, w) => waited(d, w, (_, result) => result + 1, cosignNote),
  },
  {
    attack: "made on a checkpoint that no trusted witness cosigned",
    base: "whole",
    code: "not_cosigned",
    trust,
    tamper: (d, w) =>
      waited(
        d,
        w,
        (intent) => intent + 1,
        (note) => note,
      ),
  },
  {
    attack: "made on a checkpoint that is left out",
    base: "whole",
    code: "cosigning_unproven",
    verdict: "incomplete",
    trust,
    tamper: (d, w) => waited(d, w, (intent) => intent + 1),
  },
  {
    attack: "made on a checkpoint that witnesses cosigned whom the auditor does not know",
    base: "whole",
    code: "cosigning_unproven",
    verdict: "incomplete",
    tamper: (d, w) => waited(d, w, (intent) => intent + 1, cosignNote),
  },
];

/** The same in order. */
export const cosignedInOrder = {
  trust,
  change: (draft: EvidenceDraft, world: GenuineEvidence): void =>
    waited(draft, world, (intent) => intent + 1, cosignNote),
};
