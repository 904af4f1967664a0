import { joinLabels, labelsOfAll } from "../../core/labels.ts";
import type { Origin, ValueLabels } from "../../core/labels.ts";
import { otherLinks } from "../../core/links.ts";
import { soughtValue, standsIn, tokensOf } from "../../core/provenance.ts";
import type { Flow } from "./flow.ts";

/** Where a value stands. */
export type Trace = {
  readonly origin: Origin;
  readonly labels: ValueLabels;
  /** A trusted tool returned it, and untrusted text has it too. */
  readonly contested: boolean;
};

const nothing: Trace = { origin: "user", labels: joinLabels([]), contested: false };

/** Looks for a value in all that the run has read. One that stands nowhere may be made of anything that was read. */
export function traceOf(flow: Flow, value: string): Trace {
  if (value === "") return nothing;
  const found = soughtValue(value);
  if (flow.rules === 1 && found.spellings.length === 0) return nothing;
  const sought = { ...found, ...(flow.rules === 1 ? { marks: [] } : {}), ...(flow.rules < 4 ? { dressed: [] } : {}) };
  const trusted = flow.trusted.filter(({ text }) => standsIn(sought, text));
  const untrusted = flow.untrusted.filter(({ text }) => standsIn(sought, text));
  const isNamed = untrusted.some(({ isNames }) => !isNames);
  // A name that others chose as well is theirs. One in a result that nobody else writes is not.
  const believed = flow.rules >= 4 && isNamed ? trusted.filter(({ isNames }) => !isNames) : trusted;
  const given = sought.weak
    ? undefined
    : standsIn(sought, flow.user)
      ? "user"
      : standsIn(sought, flow.operator)
        ? "operator"
        : believed.length > 0
          ? "trusted"
          : undefined;
  const origin = given ?? (untrusted.length > 0 ? "untrusted" : "derived");
  const read = [...trusted, ...untrusted].map(({ labels }) => labels);
  // Short digits that stand in one text may as well have come from another.
  const isAnybodys = sought.weak || origin === "derived";
  return {
    origin,
    labels: isAnybodys ? labelsOfAll(flow.seen) : joinLabels(read),
    contested: origin === "trusted" && isNamed,
  };
}

/** Whose a link is: of those that are not looked at, nobody's. */
export function originOfLink(flow: Flow, link: string): Origin {
  return link === otherLinks ? "derived" : traceOf(flow, link).origin;
}

/** Whether a value that stands nowhere is made of words that the user wrote, in whatever order. */
export function isMadeOfUsersWords({ user }: Flow, value: string): boolean {
  const tokens = tokensOf(value);
  const areWords = tokens.length > 0 && tokens.every((token) => user.tokens.has(token));
  return areWords && soughtValue(value).dressed.every((word) => user.dressed.has(word));
}

/** So many words in a row, of so many characters together, are hardly the same by accident. */
const runOfWords = 4;
const shortestRun = 16;
/** Runs of a value that are looked for in texts. */
const maxRuns = 200;

/**
 * Whether a value repeats words of the user's, several in a row, that no untrusted text has: "I've seen it in the meeting room" after "reply
 * that you've seen it in the meeting room". It was then hardly somebody else's idea.
 */
export function repeatsUser({ user, untrusted }: Flow, value: string): boolean {
  const tokens = tokensOf(value);
  let row = 0;
  let looked = 0;
  for (const [at, token] of tokens.entries()) {
    row = user.tokens.has(token) ? row + 1 : 0;
    if (row < runOfWords) continue;
    const run = tokens.slice(at + 1 - runOfWords, at + 1);
    if (run.join("").length < shortestRun) continue;
    looked += 1;
    if (looked > maxRuns) return false;
    const sought = { spellings: [run], marks: [], dressed: [], weak: false };
    if (standsIn(sought, user) && !untrusted.some(({ text }) => standsIn(sought, text))) return true;
  }
  return false;
}
