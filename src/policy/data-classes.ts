import { parsePhoneNumberFromString } from "libphonenumber-js/min";
import validator from "validator";

import { dataClasses } from "../core/labels.ts";
import type { DataClass } from "../core/labels.ts";

/** Candidates of one class that are checked before it is given up: a text of nothing but near misses must not cost more. */
const maxCandidates = 2_000;

type Detector = { readonly pattern: RegExp; readonly holds?: (candidate: string) => boolean };

/** People write numbers in groups, with whatever looks like a gap. */
const groupGap = String.raw`[\s\u2010-\u2015-]`;
const groupGaps = new RegExp(groupGap, "g");

/**
 * A match begins at few places of a text, or is short: so each is linear in the text. What repeats without a bound must not be able to
 * begin anew within itself.
 */
const detectors: Readonly<Partial<Record<DataClass, readonly Detector[]>>> = {
  email: [
    {
      pattern: /(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}/gi,
      holds: (text) => validator.isEmail(text.replace(/\.$/, "")),
    },
  ],
  // Without a country code a number could be anything.
  phone: [
    {
      pattern: /(?<![\w+])\+\d[\d ().-]{6,20}\d(?!\d)/g,
      holds: (text) => parsePhoneNumberFromString(text)?.isValid() ?? false,
    },
  ],
  // ISO 13616: the check digits are modulo 97. Looked at from each beginning: what looks like one may reach into the next.
  iban: [
    {
      pattern: new RegExp(
        `(?<![a-z0-9])(?=((?:${validator.ibanLocales.join("|")})\\d{2}(?:${groupGap}?[a-z0-9]){11,30}(?![a-z0-9])))`,
        "gi",
      ),
      holds: (text) => prefixes(text.replaceAll(groupGaps, ""), 15).some((candidate) => validator.isIBAN(candidate)),
    },
  ],
  // ISO/IEC 7812: Luhn's check digit, with the prefixes of the card brands.
  card: [
    {
      pattern: /(?<![\w.])\d(?:[ -]?\d){11,18}(?![\w])/g,
      holds: (text) => validator.isCreditCard(text.replaceAll(/[ -]/g, "")),
    },
  ],
  national_id: [
    // US: area, group and serial numbers that are never given out are no number.
    { pattern: /(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])/g },
    // Spain: the letter is modulo 23.
    {
      pattern: /(?<!\w)[XYZ]?\d{7,8}-?[A-HJ-NP-TV-Z](?!\w)/g,
      holds: (text) => validator.isIdentityCard(text.replace("-", ""), "ES"),
    },
    // Italy: the last letter is a check over the others.
    {
      pattern: /(?<!\w)[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)/g,
      holds: (text) => validator.isTaxID(text, "it-IT"),
    },
    // Brazil: two digits modulo 11.
    { pattern: /(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\w)/g, holds: (text) => validator.isTaxID(text, "pt-BR") },
    // United Kingdom: no checksum; prefixes that are never used are no number.
    {
      pattern: /(?<!\w)(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)/g,
    },
  ],
  secret: [
    { pattern: /-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY-----/g },
    { pattern: /(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)/g },
    { pattern: /(?<!\w)gh[pousr]_[A-Za-z0-9]{36,255}(?!\w)|(?<!\w)github_pat_\w{60,255}/g },
    { pattern: /(?<!\w)xox[abposr]-[A-Za-z0-9-]{10,250}/g },
    { pattern: /(?<!\w)AIza[\w-]{35}(?![\w-])/g },
    { pattern: /(?<!\w)sk-(?:ant-|proj-)?[\w-]{20,250}|(?<!\w)[rs]k_live_[A-Za-z0-9]{16,250}/g },
    // RFC 7519: from the dot in its middle, as any place in a long word could be where one begins.
    { pattern: /\.(?<=eyJ[\w-]{8,20000}\.)eyJ[\w-]{8,20000}\.[\w-]{16}/g },
    {
      pattern: /(?:password|passwd|secret|api[_-]?key|access[_-]?token)["']?\s{0,3}[:=]\s{0,3}["']?[^\s"'<>]{8,200}/gi,
      holds: (text) => variety(text.replace(/^[^:=]*[:=]\s*["']?/, "")) >= 3,
    },
  ],
};

/** The longest first: what follows an account number may look like a part of it. */
function prefixes(text: string, shortest: number): readonly string[] {
  return Array.from({ length: Math.max(0, text.length - shortest + 1) }, (_, cut) => text.slice(0, text.length - cut));
}

/** How many kinds of characters: of a real secret at least three; a word in a sentence has one. */
function variety(text: string): number {
  return [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z0-9]/].filter((kind) => kind.test(text)).length;
}

/** The classes of personal and secret data that a text holds, sorted. By checksum where the kind has one; never a promise that there is none. */
export function dataClassesIn(text: string): readonly DataClass[] {
  return dataClasses.filter((name) => (detectors[name] ?? []).some((detector) => finds(detector, text))).toSorted();
}

function finds({ pattern, holds }: Detector, text: string): boolean {
  let candidates = 0;
  for (const [match, ahead] of text.matchAll(pattern)) {
    const candidate = ahead ?? match;
    if (holds === undefined || holds(candidate)) return true;
    candidates += 1;
    // As many near misses as this are not given the benefit of the doubt.
    if (candidates === maxCandidates) return true;
  }
  return false;
}
