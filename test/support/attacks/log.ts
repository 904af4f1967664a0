import type { Trust } from "../../../src/audit/offline/index.ts";
import { createSigner, parseNote, signNote } from "../../../src/ledger/proof/index.ts";
import { canonicalText } from "../../../src/store/canonical.ts";
import type { Anything } from "../evidence-draft.ts";
import { cosign, witness } from "../evidence-witness.ts";
import { shop, people, far, long_ago, insider, outsider, kind, placeOf, ofStep } from "./attack.ts";
import type { Attack } from "./attack.ts";

/** The key of a log since its first one was stolen. */
export const nextKey = createSigner("localhost/ledger/shop", Buffer.alloc(32, 7));

/** An auditor who knows that the key of the log was replaced, and up to which size it counts. */
export const retired = (trust: Trust, untilSize: number): Trust => ({
  ...trust,
  logs: {
    ...trust.logs,
    shop: {
      verifierKeys: [nextKey.verifierKey],
      retiredKeys: trust.logs["shop"]!.verifierKeys.map((verifierKey) => ({ verifierKey, untilSize })),
    },
  },
});

export const logAttacks: readonly Attack[] = [
  {
    attack: "a leaf edited",
    base: "selected",
    code: "not_included",
    tamper: (d, w) => d.editLeaf(shop, ofStep("step.result", w.runs.approved, 3), (e) => (e.facts.costMicroUsd = 1)),
  },
  {
    attack: "a leaf deleted, with its proof",
    base: "selected",
    code: "run_gap",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      const place = leaves.findIndex((l) => l.includes(w.runs.approved) && l.includes('"step.result"'));
      leaves.splice(place, 1);
      d.putLeaves(shop, leaves);
      d.edit(d.log(shop).proofs!, (p) => p.proofs.splice(place, 1));
    },
  },
  {
    attack: "a run's last leaf deleted, with its proof",
    base: "selected",
    code: "run_not_closed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      const place = leaves.findIndex((l) => kind("run.closed", w.runs.approved)(JSON.parse(l)));
      leaves.splice(place, 1);
      d.putLeaves(shop, leaves);
      d.edit(d.log(shop).proofs!, (p) => p.proofs.splice(place, 1));
    },
  },
  {
    attack: "a leaf deleted, its proof left",
    base: "selected",
    code: "leaf_count",
    tamper: (d) => d.putLeaves(shop, d.leaves(shop).slice(0, -1)),
  },
  {
    attack: "two leaves in the other order, with their proofs",
    base: "selected",
    code: "entry_order",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      [leaves[5], leaves[6]] = [leaves[6]!, leaves[5]!];
      d.putLeaves(shop, leaves);
      d.edit(d.log(shop).proofs!, (p) => ([p.proofs[5], p.proofs[6]] = [p.proofs[6], p.proofs[5]]));
    },
  },
  {
    attack: "a leaf twice",
    base: "selected",
    code: "entry_order",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      leaves.splice(5, 0, leaves[5]!);
      d.putLeaves(shop, leaves);
      d.edit(d.log(shop).proofs!, (p) => p.proofs.splice(5, 0, p.proofs[5]));
    },
  },
  {
    attack: "an inclusion proof changed",
    base: "selected",
    code: "not_included",
    tamper: (d) => d.edit(d.log(shop).proofs!, (p) => (p.proofs[4].path[0] = "0".repeat(64))),
  },
  {
    attack: "two inclusion proofs swapped",
    base: "selected",
    code: "not_included",
    tamper: (d) =>
      d.edit(d.log(shop).proofs!, (p) => ([p.proofs[4].path, p.proofs[7].path] = [p.proofs[7].path, p.proofs[4].path])),
  },
  {
    attack: "an inclusion proof cut short",
    base: "selected",
    code: "not_included",
    tamper: (d) => d.edit(d.log(shop).proofs!, (p) => p.proofs[4].path.pop()),
  },
  {
    attack: "an entry said to stand at another index",
    base: "selected",
    code: "not_included",
    tamper: (d) => d.edit(d.log(shop).proofs!, (p) => (p.proofs.at(-1).index -= 1)),
  },
  {
    attack: "a selection without proofs",
    base: "selected",
    code: "malformed",
    tamper: (d) => {
      delete d.log(shop).proofs;
    },
  },
  {
    attack: "a key twice in a leaf",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      leaves[3] = leaves[3]!.replace('{"at":', '{"at":"x","at":');
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "white space in a leaf",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      leaves[3] = leaves[3]!.replace('{"at":', '{ "at":');
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "a leaf's keys in another order",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      const { at, ...rest } = JSON.parse(leaves[3]!) as { at: string };
      leaves[3] = JSON.stringify({ ...rest, at });
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "a number beyond 2^53 in a leaf",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      const place = leaves.findIndex((l) => /"heldMicroUsd":\d+/.test(l));
      leaves[place] = leaves[place]!.replace(/"heldMicroUsd":\d+/, '"heldMicroUsd":9007199254740993');
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "an unusual escape in a leaf",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      leaves[3] = leaves[3]!.replace('"log":"shop"', '"log":"\\u0073hop"');
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "an entry of another log",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => d.relog(shop, (es) => (es[placeOf(es, kind("release.registered"))].log = "bank"), insider(w)),
  },
  {
    attack: "an entry with more than an entry has",
    base: "whole",
    code: "entry_malformed",
    tamper: (d, w) => d.relog(shop, (es) => (es[2].note = "trust me"), insider(w)),
  },
  {
    attack: "the checkpoint's size changed",
    base: "selected",
    code: "signature_invalid",
    tamper: (d) => {
      const { checkpoint } = d.log(shop);
      d.put(checkpoint, d.text(checkpoint).replace(/\n\d+\n/, "\n999999\n"));
    },
  },
  {
    attack: "the checkpoint's root changed",
    base: "selected",
    code: "signature_invalid",
    tamper: (d) => {
      const { checkpoint } = d.log(shop);
      d.put(
        checkpoint,
        d.text(checkpoint).replace(/\n[A-Za-z0-9+/]{43}=\n/, `\n${Buffer.alloc(32).toString("base64")}\n`),
      );
    },
  },
  {
    attack: "the checkpoint's signature changed",
    base: "selected",
    code: "signature_invalid",
    tamper: (d) => {
      const { checkpoint } = d.log(shop);
      d.put(
        checkpoint,
        d
          .text(checkpoint)
          .replace(/[A-Za-z](=*)\n$/, (_, pad: string) => `A${pad}\n`)
          .replace(/.{8}(=*\n)$/, (tail) => `AAAAAAAA${tail.slice(8)}`),
      );
    },
  },
  {
    attack: "the checkpoint without any signature",
    base: "selected",
    code: "checkpoint_malformed",
    tamper: (d) => {
      const { checkpoint } = d.log(shop);
      d.put(checkpoint, d.text(checkpoint).split("\n\n")[0]!);
    },
  },
  {
    attack: "the checkpoint signed by another key of the same name",
    base: "selected",
    code: "signature_missing",
    tamper: (d) => {
      const { checkpoint } = d.log(shop);
      d.put(checkpoint, signNote(parseNote(d.text(checkpoint)).text, [outsider()]));
    },
  },
  {
    attack: "the checkpoint of another log of the same operator",
    base: "selected",
    code: "signature_missing",
    tamper: (d) => d.put(d.log(shop).checkpoint, d.text(d.log(people).checkpoint)),
  },
  {
    attack: "the whole log made anew, signed by a key of the attacker's",
    base: "whole",
    code: "signature_missing",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => (es[placeOf(es, ofStep("step.result", w.runs.approved, 3))].facts.result = "0".repeat(64)),
        outsider(),
      ),
  },
  {
    attack: "a row edited in the whole log",
    base: "whole",
    code: "root_mismatch",
    tamper: (d, w) => d.editLeaf(shop, ofStep("step.result", w.runs.approved, 3), (e) => (e.at = far)),
  },
  {
    attack: "a row deleted from the whole log",
    base: "whole",
    code: "leaf_count",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      leaves.splice(4, 1);
      d.putLeaves(shop, leaves);
    },
  },
  {
    attack: "rows in another order in the whole log",
    base: "whole",
    code: "root_mismatch",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      [leaves[5], leaves[6]] = [leaves[6]!, leaves[5]!];
      d.putLeaves(shop, leaves);
    },
  },
  {
    attack: "the whole log's tail cut off",
    base: "whole",
    code: "leaf_count",
    tamper: (d) => d.putLeaves(shop, d.leaves(shop).slice(0, -3)),
  },
  {
    attack: "rows added after the checkpoint",
    base: "whole",
    code: "not_covered",
    verdict: "incomplete",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      const entry = JSON.parse(leaves[0]!) as Anything;
      entry.dedupKey = "added";
      d.putLeaves(shop, [...leaves, canonicalText(entry)]);
    },
  },
  {
    attack: "an old checkpoint shown as the newest",
    base: "withheld",
    code: "not_covered",

    tamper: (d, w) => d.put(d.log(shop).checkpoint, w.pinned),
  },
  {
    attack: "rolled back by the operator, to before what was pinned",
    base: "whole",
    code: "rolled_back",
    pinned: "latest",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      d.putLeaves(shop, leaves.slice(0, -2));
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "rewritten and signed again by the operator, against an earlier pin",
    base: "whole",
    code: "log_rewritten",
    pinned: "earlier",
    tamper: (d, w) => d.relog(shop, (es) => (es[0].at = long_ago), insider(w)),
  },
  {
    attack: "forked by the operator, against a pin of the same size",
    base: "whole",
    code: "log_rewritten",
    pinned: "latest",
    tamper: (d, w) => d.relog(shop, (es) => (es.at(-1).at = far), insider(w)),
  },
  {
    attack: "rewritten by the operator under another origin in the manifest, so that no pin seems to be of it",
    base: "whole",
    code: "log_rewritten",
    pinned: "latest",
    tamper: (d, w) => {
      d.relog(shop, (es) => (es[0].at = long_ago), insider(w));
      d.log(shop).origin = "localhost/ledger/elsewhere";
      for (const section of d.manifest.runs) delete section.statement;
    },
  },
  {
    attack: "another origin in the manifest than the checkpoint has",
    base: "withheld",
    code: "checkpoint_malformed",
    tamper: (d) => {
      d.log(shop).origin = "localhost/ledger/elsewhere";
      for (const section of d.manifest.runs) delete section.statement;
    },
  },
  {
    attack: "a pin that a selection cannot be led back to",
    base: "withheld",
    code: "pin_unproven",
    verdict: "incomplete",
    pinned: "earlier",
    tamper: () => undefined,
  },
  {
    attack: "forked by the operator, without the witness that others ask",
    base: "whole",
    code: "witness_quorum",
    verdict: "incomplete",
    trust: (t) => ({ ...t, witnesses: { keys: [witness.verifierKey], quorum: 1 } }),
    tamper: (d, w) => d.relog(shop, (es) => (es[0].at = long_ago), insider(w)),
  },
  {
    attack: "a witness's cosignature moved from another checkpoint",
    base: "whole",
    code: "signature_invalid",
    trust: (t) => ({ ...t, witnesses: { keys: [witness.verifierKey], quorum: 1 } }),
    tamper: (d, w) => {
      cosign(d, shop);
      const line = d
        .text(d.log(shop).checkpoint)
        .split("\n")
        .find((l) => l.startsWith("— witness"))!;
      d.relog(shop, (es) => (es[0].at = long_ago), insider(w));
      cosign(d, people);
      d.put(d.log(shop).checkpoint, `${d.text(d.log(shop).checkpoint)}${line}\n`);
    },
  },
  {
    attack: "an older checkpoint of another tree brought along",
    base: "whole",
    code: "log_rewritten",
    tamper: (d, w) => {
      const { origin } = d.log(shop);
      d.put(
        "logs/shop/old/3.checkpoint",
        signNote(`${origin}\n3\n${Buffer.alloc(32, 1).toString("base64")}\n`, [insider(w)]),
      );
      d.put("logs/shop/old/3.consistency.json", canonicalText({ v: 1, from: 3, to: d.leaves(shop).length, path: [] }));
      d.log(shop).old.push({
        size: 3,
        checkpoint: "logs/shop/old/3.checkpoint",
        consistency: "logs/shop/old/3.consistency.json",
      });
    },
  },
  {
    attack: "the activation that a run was decided under left out of a selection",
    base: "withheld",
    code: "policy_not_in_force",
    tamper: (d) => {
      const leaves = d.leaves(shop);
      const place = leaves.findLastIndex((leaf) => kind("policy.activated")(JSON.parse(leaf)));
      d.putLeaves(shop, leaves.toSpliced(place, 1));
      d.edit(d.log(shop).proofs!, ({ proofs }) => proofs.splice(place, 1));
    },
  },
  {
    attack: "signed by the stolen key after it was retired",
    base: "whole",
    code: "signature_missing",
    trust: (t) => retired(t, 3),
    tamper: (d, w) => d.relog(shop, (es) => (es[0].at = long_ago), insider(w)),
  },
  {
    attack: "another history of before the theft, signed by the stolen key, with nothing pinned or cosigned",
    base: "whole",
    code: "retired_unproven",
    verdict: "incomplete",
    trust: (t) => retired(t, 100_000),
    tamper: (d, w) => d.relog(shop, (es) => (es[0].at = long_ago), insider(w)),
  },
  {
    attack: "another history of before the theft, signed by the stolen key, against an earlier pin under it",
    base: "whole",
    code: "log_rewritten",
    pinned: "earlier",
    trust: (t) => retired(t, 100_000),
    tamper: (d, w) => d.relog(shop, (es) => (es[0].at = long_ago), insider(w)),
  },
  {
    attack: "a log under a new key that did not grow out of the last checkpoint under the stolen one",
    base: "whole",
    code: "log_rewritten",
    pinned: "earlier",
    trust: (t) => retired(t, 100_000),
    tamper: (d) => d.relog(shop, (es) => (es[0].at = long_ago), nextKey),
  },
  {
    attack: "a whole older log with its checkpoint, which witnesses cosigned long ago",
    base: "whole",
    code: "checkpoint_stale",
    verdict: "incomplete",
    trust: (t) => ({ ...t, witnesses: { keys: [witness.verifierKey], quorum: 1 }, maxAgeHours: 1 }),
    tamper: (d) => (cosign(d, shop), cosign(d, people)),
  },
  {
    attack: "a checkpoint of which no witness says when it was the newest, where an age is asked for",
    base: "whole",
    code: "checkpoint_stale",
    verdict: "incomplete",
    trust: (t) => ({ ...t, maxAgeHours: 1_000_000 }),
    tamper: () => undefined,
  },
  {
    attack: "a log that the auditor knows nothing of",
    base: "withheld",
    code: "log_untrusted",
    verdict: "incomplete",
    trust: (t) => ({ ...t, logs: { people: t.logs["people"]! } }),
    tamper: () => undefined,
  },
];
