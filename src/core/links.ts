import { unescaped } from "./escapes.ts";
import { flowRules } from "./labels.ts";
import type { FlowRules } from "./labels.ts";

const linkPattern =
  /(?:[a-z][a-z0-9+.-]{0,20}:\/\/|www\.)[^\s"'<>()[\]{},;]+|(?<![@\w.-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?::\d{1,5})?\/[^\s"'<>()[\]{},;]*|(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\/[^\s"'<>()[\]{},;]*|(?<![@\w./-])(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|info|biz|io|co|app|dev|xyz|top|site|online|shop|club|link|click|ru|cn|de|uk|fr|eu|me|ly|gg|to|cc|tk|ai)(?![\w@-])/gi;
/** Links in one text that are looked at. */
const maxLinks = 1_000;
/** Stands for all links that are not looked at, and is nobody's: no pattern finds it. */
export const otherLinks = "…";

/**
 * What browsers and mail programs follow beside those: with a backslash, one slash or none behind the scheme; with no scheme at all; to an
 * address in brackets; mail, files, and what is code or contents itself. By the URL standard: url.spec.whatwg.org, "URL parsing".
 */
const hiddenPattern = new RegExp(
  [
    String.raw`(?<![a-z0-9+.-])(?<scheme>https?|ftp|wss?):(?!//[^\\/[])[\\/]{0,8}(?<rest>(?:\[[0-9a-f:.]{2,45}\]|${hostName()})[^\s"'<>()[\]{},;]*)`,
    String.raw`(?<![\p{L}\p{N}:.\\/])[\\/]{2}(?<relative>${hostName()}[^\s"'<>()[\]{},;]*)`,
    String.raw`(?<![\p{L}\p{N}])mailto:(?<mail>[^\s"'<>()[\]{},;]+)`,
    String.raw`(?<![\p{L}\p{N}])(?<active>(?:javascript|vbscript):[^\s"'<>]+|data:[a-z]+/[a-z0-9.+-]+[;,][^\s"'<>]*|file:[\\/][^\s"'<>]*)`,
  ].join("|"),
  "giu",
);

function hostName(): string {
  return String.raw`(?:[\p{L}\p{N}_-]{1,63}\.){1,8}[\p{L}\p{N}-]{1,63}`;
}

/**
 * What a reader could follow: URLs, `www.` names, addresses with a path, and bare host names under common top-level domains; from the fourth
 * rules on also what a browser makes of other spellings, and of characters that are written as escapes. With {@link otherLinks} at the end
 * where there are more than are looked at.
 */
export function linksIn(text: string, rules: FlowRules = flowRules): readonly string[] {
  const found = new Map<string, string>();
  for (const link of rules < 4 ? plainLinks(text) : allLinks(text)) {
    const place = rules < 4 ? link : link.replace(/^https?:\/\//i, "");
    if (found.has(place)) continue;
    if (found.size === maxLinks) return [...found.values(), otherLinks];
    found.set(place, link);
  }
  return [...found.values()];
}

function* plainLinks(text: string): Generator<string, void, undefined> {
  for (const [link] of text.matchAll(linkPattern)) yield link;
}

/** What is written with escapes behind its host is the same link when it is read, and not counted twice. */
function isEscapedBehindHost(link: string): boolean {
  return /^(?:[a-z][a-z0-9+.-]{0,20}:\/\/)?[^/?#&\\]+[/?#]/i.test(link) && /[&\\]/.test(link);
}

function* allLinks(text: string): Generator<string, void, undefined> {
  const read = unescaped(text);
  yield* linksAsRead(read);
  // What shows the text as it stands may make links of other parts of it.
  if (read !== text) for (const link of linksAsRead(text)) if (!isEscapedBehindHost(link)) yield link;
}

function* linksAsRead(text: string): Generator<string, void, undefined> {
  yield* plainLinks(text);
  for (const { groups } of text.matchAll(hiddenPattern)) {
    const { scheme = "https", rest, relative, mail, active } = groups ?? {};
    const place = rest ?? relative ?? "";
    yield active ?? mail ?? `${scheme.toLowerCase()}://${place.replaceAll("\\", "/")}`;
  }
}
