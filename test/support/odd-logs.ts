import type { Trust } from "../../src/audit/offline/index.ts";
import type { Json } from "../../src/core/json.ts";
import {
  consistencyProof,
  createSigner,
  formatCheckpoint,
  hexOf,
  inclusionProof,
  leafHash,
  maxEntryBytes,
  parseNote,
  rootOf,
  signNote,
} from "../../src/ledger/proof/index.ts";
import type { Signer } from "../../src/ledger/proof/index.ts";
import { canonicalText } from "../../src/store/canonical.ts";
import { insider } from "./attacks/attack.ts";
import type { EvidenceDraft } from "./evidence-draft.ts";
import type { Oddity } from "./evidence-oddities.ts";
import { cosignNote, witness } from "./evidence-witness.ts";
import type { GenuineEvidence } from "./genuine-evidence.ts";

/** Logs that are unusual in themselves, beside no run at all: sizes, selections, pins, values of entries, keys. */

const log = "office";
const origin = `localhost/ledger/${log}`;
const base = "nothing" as const;
type Entry = Readonly<Record<string, Json>>;
type Facts = Readonly<Record<string, string | number | readonly string[]>>;

const entryOf = (n: number, facts: Facts = {}, more: Entry = {}): Entry => ({
  v: 1,
  kind: "audit.read",
  log,
  dedupKey: `odd/${n}`,
  at: "2026-01-02T03:04:05.678Z",
  facts: { n, ...facts },
  ...more,
});
const entries = (count: number): readonly Entry[] => Array.from({ length: count }, (_, n) => entryOf(n));
const leavesOf = (list: readonly Entry[]): readonly string[] => list.map((entry) => canonicalText(entry));
const hashesOf = (leaves: readonly string[]) => leaves.map((leaf) => leafHash(Buffer.from(leaf)));
const noteOf = (leaves: readonly string[], signers: readonly Signer[]): string =>
  signNote(formatCheckpoint({ origin, size: leaves.length, root: rootOf(hashesOf(leaves)) }), signers);

type Shape = {
  /** Indexes of the leaves that the bundle has; absent: all. */
  readonly kept?: readonly number[];
  /** Sizes of older checkpoints that it brings along. */
  readonly old?: readonly number[];
  readonly signers?: (world: GenuineEvidence) => readonly Signer[];
};

function putLog(d: EvidenceDraft, w: GenuineEvidence, list: readonly Entry[], shape: Shape = {}): void {
  const leaves = leavesOf(list);
  const hashes = hashesOf(leaves);
  const { kept, old = [], signers = () => [insider(w, log)] } = shape;
  d.put(`logs/${log}/checkpoint`, noteOf(leaves, signers(w)));
  d.put(`logs/${log}/leaves`, (kept ?? [...leaves.keys()]).map((index) => `${leaves[index]}\n`).join(""));
  if (kept !== undefined) {
    const proofs = kept.map((index) => ({ index, path: inclusionProof(hashes, index).map(hexOf) }));
    d.put(`logs/${log}/proofs.json`, canonicalText({ v: 1, proofs }));
  }
  for (const size of old) {
    d.put(`logs/${log}/old/${size}.checkpoint`, noteOf(leaves.slice(0, size), signers(w)));
    const path = consistencyProof(hashes, size).map(hexOf);
    d.put(`logs/${log}/old/${size}.json`, canonicalText({ v: 1, from: size, to: leaves.length, path }));
  }
  d.manifest.logs.push({
    log,
    origin,
    checkpoint: `logs/${log}/checkpoint`,
    leaves: `logs/${log}/leaves`,
    coverage: kept === undefined ? "full" : "selected",
    ...(kept === undefined ? {} : { proofs: `logs/${log}/proofs.json` }),
    old: old.map((size) => ({
      size,
      checkpoint: `logs/${log}/old/${size}.checkpoint`,
      consistency: `logs/${log}/old/${size}.json`,
    })),
  });
}

const around = (...powers: readonly number[]): readonly number[] => powers.flatMap((one) => [one - 1, one, one + 1]);
const sizes = [1, 2, ...around(4, 8, 16, 32, 64, 128, 256)];

const whole: readonly Oddity[] = [0, ...sizes].map((size) => ({
  oddity: `a whole log of ${size} entries`,
  base,
  change: (d, w) => putLog(d, w, entries(size)),
}));

/** The first, the last, the one at the largest full subtree's end and after it: their paths differ most. */
const selected: readonly Oddity[] = sizes.map((size) => {
  const left = 2 ** Math.floor(Math.log2(Math.max(1, size - 1)));
  const kept = [...new Set([0, left - 1, left, size - 1])].filter((index) => index < size).toSorted((a, b) => a - b);
  return {
    oddity: `of a log of ${size} entries, ${kept.join(", ")}`,
    base,
    change: (d, w) => putLog(d, w, entries(size), { kept }),
  };
});

const grown: readonly (readonly [number, number])[] = [
  ...[2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 65].map((to) => [1, to] as const),
  ...[3, 4, 5, 8, 15, 16, 17, 31, 32, 33].map((to) => [to - 1, to] as const),
  ...([[3, 7], [4, 8], [5, 9], [7, 16], [8, 17], [9, 31], [16, 64], [31, 33], [48, 65], [64, 129]] as const), // oxfmt-ignore
];
const pinned: readonly Oddity[] = grown.map(([from, to]) => ({
  oddity: `a log of ${to} entries, whose last one alone is here, grown out of a pin at ${from}`,
  base,
  change: (d, w) => putLog(d, w, entries(to), { kept: [to - 1], old: [from] }),
  pinned: (w) => [noteOf(leavesOf(entries(from)), [insider(w, log)])],
}));

const long = "長".repeat(5_000);
const values: readonly (readonly [string, Facts, Entry?])[] = [
  ["an empty text", { text: "" }],
  ["an empty list", { list: [] }],
  ["a list of empty texts", { list: ["", "", ""] }],
  ["a list of 1,000 texts", { list: Array.from({ length: 1_000 }, (_, n) => String(n)) }],
  ["1,000 facts", Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`f${n}`, n]))],
  ["the largest whole number", { n: Number.MAX_SAFE_INTEGER }],
  ["the smallest whole number", { n: Number.MIN_SAFE_INTEGER }],
  ["nought", { n: 0 }],
  ["a text of 15,000 bytes in 5,000 characters", { text: long }],
  ["characters beyond the first plane", { text: "\u{1F63A}\u{10FFFF}\u{10000}" }],
  ["characters that run from right to left", { text: "\u202E\u2066الحالة\u2069" }],
  ["characters that join", { text: "e\u0301 é \u{1F468}\u200D\u{1F469}\u200D\u{1F467}" }],
  ["line separators that JavaScript once refused", { text: "\u2028\u2029" }],
  ["all controls", { text: Array.from({ length: 32 }, (_, n) => String.fromCharCode(n)).join("") }],
  ["quotes, slashes and what looks like markup", { text: `"\\/</script><!-- ]]>` }],
  ["what looks like JSON", { text: '{"v":1,"kind":"run.closed"}' }],
  ["names that objects have of themselves", { constructor: "a", toString: "b", hasOwnProperty: "c" }],
  ["names that sort by UTF-16, not by code point", { "\u{10000}": 1, "\uFFFD": 2, ﬁ: 3 }],
  ["names that are numbers", { "10": 1, "9": 2, "1": 3, "01": 4 }],
  ["an empty name", { "": "" }],
  ["a name of 1,000 characters", { ["n".repeat(1_000)]: 1 }],
  ["a kind that nobody knows", {}, { kind: "ünknown.later" }],
  ["a time in 1970", {}, { at: "1970-01-01T00:00:00.000Z" }],
  ["a time before 1970", {}, { at: "1901-12-31T23:59:59.999Z" }],
  ["a time in the year 9999", {}, { at: "9999-12-31T23:59:59.999Z" }],
  ["a leap day", {}, { at: "2028-02-29T12:00:00.000Z" }],
  ["the longest key that it can have", {}, { dedupKey: "k".repeat(512) }],
  ["a key of all ASCII", {}, { dedupKey: Array.from({ length: 95 }, (_, n) => String.fromCharCode(32 + n)).join("") }],
];
const valued: readonly Oddity[] = values.map(([what, facts, more = {}]) => ({
  oddity: `a log of one entry, with ${what}`,
  base,
  change: (d, w) => putLog(d, w, [entryOf(0, facts, more)]),
}));

/** An entry of exactly so many bytes. */
function ofBytes(bytes: number): Entry {
  const room = bytes - Buffer.byteLength(canonicalText(entryOf(0, { text: "" })));
  return entryOf(0, { text: "x".repeat(room) });
}
const clocks: readonly (readonly [string, readonly string[]])[] = [
  ["whose clock stands still", Array.from({ length: 9 }, () => "2026-01-02T03:04:05.678Z")],
  ["whose clock runs back", ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.677Z", "2020-01-01T00:00:00.000Z"]],
  ["over a new year", ["2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"]],
  ["over an hour that a time zone has twice", ["2026-10-25T00:59:59.999Z", "2026-10-25T01:00:00.000Z"]],
];
const shaped: readonly Oddity[] = [
  ...[maxEntryBytes, maxEntryBytes - 1].map((bytes): Oddity => ({
    oddity: `an entry of ${bytes} bytes`,
    base,
    change: (d, w) => putLog(d, w, [ofBytes(bytes)]),
  })),
  ...clocks.map(([what, times]): Oddity => ({
    oddity: `a log ${what}`,
    base,
    change: (d, w) =>
      putLog(
        d,
        w,
        times.map((at, n) => entryOf(n, {}, { at })),
      ),
  })),
  {
    oddity: "a selection of nothing",
    base,
    change: (d, w) => putLog(d, w, entries(9), { kept: [] }),
  },
  {
    oddity: "a selection of everything",
    base,
    change: (d, w) => putLog(d, w, entries(9), { kept: [...entries(9).keys()] }),
  },
  {
    oddity: "older checkpoints of all sizes",
    base,
    change: (d, w) => putLog(d, w, entries(20), { kept: [19], old: entries(19).map((_, n) => n + 1) }),
    pinned: (w) => [1, 8, 19].map((size) => noteOf(leavesOf(entries(size)), [insider(w, log)])),
  },
  {
    oddity: "pins of every size of a whole log",
    base,
    change: (d, w) => putLog(d, w, entries(17)),
    pinned: (w) => entries(17).map((_, n) => noteOf(leavesOf(entries(n + 1)), [insider(w, log)])),
  },
];

const next = createSigner(origin, Buffer.alloc(32, 8));
/** An auditor for whom the log's first key counts up to a size. */
const until =
  (untilSize: number) =>
  (trust: Trust): Trust => ({
    ...trust,
    logs: {
      ...trust.logs,
      [log]: {
        verifierKeys: [next.verifierKey],
        retiredKeys: trust.logs[log]!.verifierKeys.map((verifierKey) => ({ verifierKey, untilSize })),
      },
    },
  });
const witnessed = (trust: Trust, quorum = 1): Trust => ({
  ...trust,
  witnesses: { keys: [witness.verifierKey], quorum },
});
/** With lines of keys that nobody knows, before and after the log's own. */
function crowded(note: string, count: number): string {
  const { text } = parseNote(note);
  const strangers = Array.from({ length: count }, (_, n) => createSigner(`stranger-${n}`, Buffer.alloc(32, n + 10)));
  const lines = strangers.map((one) => signNote(text, [one]).slice(text.length + 1));
  const own = note.slice(text.length + 1);
  return `${text}\n${lines.slice(0, count / 2).join("")}${own}${lines.slice(count / 2).join("")}`;
}
const keys: readonly Oddity[] = [
  ...[8, 9, 1_000_000].map((untilSize): Oddity => ({
    oddity: `a log of 8 entries under a key that counted up to ${untilSize}, which a witness cosigned`,
    base,
    change: (d, w) => {
      putLog(d, w, entries(8));
      for (const one of d.manifest.logs) d.put(one.checkpoint, cosignNote(d.text(one.checkpoint)));
    },
    trust: (t) => witnessed(until(untilSize)(t)),
  })),
  ...[1, 7, 8].map((untilSize): Oddity => ({
    oddity: `a log of 9 entries under a new key, grown out of the last of ${untilSize} under the old one`,
    base,
    change: (d, w) => putLog(d, w, entries(9), { signers: () => [next] }),
    trust: until(untilSize),
    pinned: (w) => [noteOf(leavesOf(entries(untilSize)), [insider(w, log)])],
  })),
  {
    oddity: "a log that the old and the new key sign, at the last size of the old one",
    base,
    change: (d, w) => putLog(d, w, entries(8), { signers: (world) => [insider(world, log), next] }),
    trust: until(8),
  },
  {
    oddity: "a log that the old and the new key sign, the old one beyond its last size",
    base,
    change: (d, w) => putLog(d, w, entries(8), { signers: (world) => [insider(world, log), next] }),
    trust: until(7),
  },
  ...[2, 40].map((count): Oddity => ({
    oddity: `a checkpoint among signatures of ${count} keys that nobody knows`,
    base,
    change: (d, w) => {
      putLog(d, w, entries(3));
      d.put(`logs/${log}/checkpoint`, crowded(d.text(`logs/${log}/checkpoint`), count));
    },
  })),
  {
    oddity: "a witness that the auditor knows, and does not ask for",
    base,
    change: (d, w) => putLog(d, w, entries(3)),
    trust: (t) => witnessed(t, 0),
  },
  {
    oddity: "a cosignature of a witness that the auditor does not know",
    base,
    change: (d, w) => {
      putLog(d, w, entries(3));
      d.put(`logs/${log}/checkpoint`, cosignNote(d.text(`logs/${log}/checkpoint`)));
    },
  },
  {
    oddity: "a log of before that the auditor has twenty keys of",
    base,
    change: (d, w) => putLog(d, w, entries(3)),
    trust: (t) => ({
      ...t,
      logs: {
        ...t.logs,
        [log]: {
          verifierKeys: [
            ...t.logs[log]!.verifierKeys,
            ...Array.from({ length: 19 }, (_, n) => createSigner(origin, Buffer.alloc(32, 100 + n)).verifierKey),
          ],
        },
      },
    }),
  },
];

export const oddLogs: readonly Oddity[] = [...whole, ...selected, ...pinned, ...valued, ...shaped, ...keys];
