import type { LedgerEntry } from "../../core/ledger-event.ts";
import { digestPattern, namePattern, runIdPattern } from "../../core/ids.ts";
import { parseEntry } from "./entry.ts";
import { maxEntryBytes } from "./entry.schema.ts";

const dedupKey = /^[\x20-\x7e]{1,512}$/;
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const withRun = ["at", "dedupKey", "facts", "kind", "log", "run", "v"];
const withoutRun = ["at", "dedupKey", "facts", "kind", "log", "v"];
const ofRun = ["id", "prev", "seq"];
/** What stands in an entry's text around its values, and around those of its run. */
const frame = '{"at":"","dedupKey":"","facts":{},"kind":"","log":"","v":1}'.length;
const runFrame = '"run":{"id":"","prev":"","seq":},'.length;

/**
 * `parseEntry` for whole logs: the same entries, the same errors, several times faster. What `JSON.stringify` writes back byte for byte
 * with its keys in order is RFC 8785 for values like an entry's (no fractions, no exponents, no lone surrogates); whatever is not plainly
 * so goes to `parseEntry`.
 */
export function scanEntry(bytes: Uint8Array): LedgerEntry {
  return quickly(bytes) ?? parseEntry(bytes);
}

function quickly(bytes: Uint8Array): LedgerEntry | undefined {
  if (bytes.length > maxEntryBytes) return undefined;
  // Far cheaper than a decoder that throws; what is no UTF-8 has a replacement character in it.
  const text = (
    bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  ).toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isEntry(value) || text.includes("\uFFFD")) return undefined;
  const length = text.includes("\\") ? undefined : lengthOf(value);
  if (length !== undefined) return length === text.length ? value : undefined;
  // Half a character can only stand there as an escape, which is written back alike and is not canonical.
  return text.includes("\\ud") || JSON.stringify(value) !== text ? undefined : value;
}

/**
 * The length of an entry's canonical text. A text without escapes that is read as this entry is at least as long: white space, a key that
 * stands there twice and other spellings of numbers only add to it, so that of this length it is the canonical one. Undefined where that is
 * not so: an exponent can shorten multiples of 100, and keys like numbers are not read in the order of the text.
 */
function lengthOf({ at, dedupKey: key, facts, kind, log, run }: LedgerEntry): number | undefined {
  let length = frame + at.length + key.length + kind.length + log.length;
  if (run !== undefined) {
    if (!isShortest(run.seq)) return undefined;
    length += runFrame + run.id.length + run.prev.length + String(run.seq).length;
  }
  let comma = 0;
  // oxlint-disable-next-line guard-for-in
  for (const name in facts) {
    const first = name.charCodeAt(0);
    if (first >= 48 && first <= 57) return undefined;
    const fact = facts[name] as string | number | readonly string[];
    length += comma + name.length + 3;
    comma = 1;
    if (typeof fact === "string") length += fact.length + 2;
    else if (typeof fact === "number") {
      if (!isShortest(fact)) return undefined;
      length += String(fact).length;
    } else {
      length += fact.length === 0 ? 2 : 1 + 3 * fact.length;
      for (const item of fact) length += item.length;
    }
  }
  return length;
}

/** Whether no other spelling of an integer in JSON is as short as its plain one. */
function isShortest(integer: number): boolean {
  return integer === 0 || integer % 100 !== 0;
}

function isEntry(value: unknown): value is LedgerEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as { readonly [Key in keyof LedgerEntry]: unknown };
  if (entry.run === undefined ? !hasKeys(value, withoutRun) : !hasKeys(value, withRun) || !isPlace(entry.run))
    return false;
  return (
    entry.v === 1 &&
    typeof entry.kind === "string" &&
    entry.kind !== "" &&
    matches(entry.log, namePattern) &&
    matches(entry.dedupKey, dedupKey) &&
    matches(entry.at, time) &&
    areFacts(entry.facts)
  );
}

function isPlace(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { id, prev, seq } = value as { readonly id: unknown; readonly prev: unknown; readonly seq: unknown };
  return (
    hasKeys(value, ofRun) &&
    matches(id, runIdPattern) &&
    matches(prev, digestPattern) &&
    Number.isSafeInteger(seq) &&
    (seq as number) >= 0
  );
}

function areFacts(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  let before: string | undefined;
  const facts = value as { readonly [name: string]: unknown };
  // Parsed JSON: it has no keys but its own. Half the time of `Object.entries`.
  // oxlint-disable-next-line guard-for-in
  for (const key in facts) {
    const fact = facts[key];
    // RFC 8785 sorts by UTF-16 code units, as `<` does.
    if (key === "__proto__" || (before !== undefined && before >= key)) return false;
    before = key;
    if (typeof fact === "string" || Number.isSafeInteger(fact)) continue;
    if (!Array.isArray(fact) || !fact.every((item) => typeof item === "string")) return false;
  }
  return true;
}

function hasKeys(value: object, keys: readonly string[]): boolean {
  let place = 0;
  // oxlint-disable-next-line guard-for-in
  for (const key in value) {
    if (keys[place] !== key) return false;
    place += 1;
  }
  return place === keys.length;
}

function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}
