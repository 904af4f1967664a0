/**
 * Patterns of targets. What a pattern leaves open can never be a host, a domain's end, a step up in a path or a second address: where it
 * stands decides which characters it may be. A value that has anything else is not matched, and a person is asked.
 */

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
/** At least two labels, so that a pattern never ends in a top-level domain alone. */
const domain = `${label}(?:\\.${label})+`;
const port = "(?::[0-9]{1,5})?";
/** What `*` stands for as a whole segment or before `@`: no dot at its ends, and no two together. */
const word = "[A-Za-z0-9_+-]+";
const dotted = `${word}(?:\\.${word})*`;

const urlShape = /^([a-z][a-z0-9+-]*):\/\/([^/]*)(\/.*)?$/;
const hostShape = new RegExp(`^(\\*\\.)?(${domain})(${port})$`);
/** Without a `*`: a host may have one name only. */
const plainHost = new RegExp(`^${label}(?:\\.${label})*${port}$`);
const literals = /^[A-Za-z0-9._~+=@:/*-]*$/;
const longest = 300;

type Compiled = { readonly ok: true; readonly source: string } | { readonly ok: false; readonly fault: string };

const ok = (source: string): Compiled => ({ ok: true, source });
const bad = (fault: string): Compiled => ({ ok: false, fault });

/** Why this is no pattern; undefined if it is one. */
export function patternFault(pattern: string): string | undefined {
  const compiled = compile(pattern);
  return compiled.ok ? undefined : compiled.fault;
}

/** Whether a value is one that the pattern describes, whole and byte for byte. False for what is no pattern. */
export function matchesPattern(pattern: string, value: string): boolean {
  const compiled = compile(pattern);
  return compiled.ok && value.length <= 4_000 && new RegExp(`^(?:${compiled.source})$`).test(value);
}

function compile(pattern: string): Compiled {
  if (pattern.length > longest) return bad(`it has more than ${longest} characters`);
  if (!literals.test(pattern)) return bad("it may have ASCII letters, digits and . _ ~ + = @ : / - * only");
  if (!pattern.includes("*")) return bad("it has no `*`: give it as an exact value");
  if (/(?:^|[/.@])xn--/i.test(pattern)) return bad("it has an encoded international name");
  const url = urlShape.exec(pattern);
  if (url !== null) return urlOf(url[1] ?? "", url[2] ?? "", url[3]);
  if (pattern.includes("://")) return bad("the scheme of an address is lower case, and has no `*`");
  if (pattern.includes("@")) return addressOf(pattern);
  if (pattern.startsWith("*.")) return hostOf(pattern);
  return pattern.includes("/") ? pathOf(pattern) : wordOf(pattern);
}

function urlOf(scheme: string, host: string, path: string | undefined): Compiled {
  const named = host.includes("*") ? hostOf(host) : plainHost.test(host) ? ok(escaped(host)) : undefined;
  if (named === undefined) return bad("its host is not one in lower case, without a user's name");
  if (!named.ok) return named;
  const origin = `${escaped(scheme)}:\\/\\/${named.source}`;
  if (path === undefined) return ok(origin);
  const segments = segmentsOf(path.slice(1).split("/"));
  return segments.ok ? ok(`${origin}\\/${segments.source}`) : segments;
}

/** `*.example.com`: any host below it, and not the host itself. */
function hostOf(host: string): Compiled {
  const named = hostShape.exec(host);
  if (named === null) return bad("in a host, `*` comes first, and two names at least follow: *.example.com");
  const below = named[1] === undefined ? "" : `(?:${label}\\.)+`;
  return ok(`${below}${escaped(`${named[2] ?? ""}${named[3] ?? ""}`)}`);
}

function addressOf(address: string): Compiled {
  const [local = "", host = "", ...more] = address.split("@");
  if (more.length > 0) return bad("it has more than one `@`");
  const named = hostOf(host);
  if (!named.ok || host.includes(":")) return bad("after `@` comes a domain in lower case: *@example.com");
  const before = local.includes("*") ? segmentOf(local, dotted) : localOf(local);
  return before.ok ? ok(`${before.source}@${named.source}`) : before;
}

function localOf(local: string): Compiled {
  return new RegExp(`^${dotted}$`).test(local) ? ok(escaped(local)) : bad("what stands before `@` is no name");
}

function pathOf(path: string): Compiled {
  const [first = "", ...others] = path.split("/");
  if (first.includes("*")) return bad("its first part has to be named");
  if (first === "." || first === "..") return bad("it has a step that is no name");
  const segments = segmentsOf(others);
  return segments.ok ? ok(`${escaped(first)}\\/${segments.source}`) : segments;
}

function segmentsOf(segments: readonly string[]): Compiled {
  const sources: string[] = [];
  for (const [place, segment] of segments.entries()) {
    if (segment === "**" && place === segments.length - 1) {
      sources.push(`${dotted}(?:\\/${dotted})*`);
      continue;
    }
    if (segment === "" || segment === "." || segment === "..") return bad("it has a step that is no name");
    const compiled = segment.includes("*") ? segmentOf(segment, dotted) : ok(escaped(segment));
    if (!compiled.ok) return compiled;
    sources.push(compiled.source);
  }
  return ok(sources.join("\\/"));
}

/** `INV-*`: no dots, so that it is never a host. */
function wordOf(text: string): Compiled {
  if (text.includes(".")) return bad("with a dot it could be a host: give the host whole, or *.example.com");
  if (text === "*") return bad("it is anything: say that the argument is unconstrained");
  return segmentOf(text, word);
}

/** One `*`, alone or next to something that ends a name: `acme*` would be `acme-evil` too. */
function segmentOf(segment: string, alone: string): Compiled {
  const [before = "", after = "", ...more] = segment.split("*");
  if (more.length > 0) return bad("there is one `*` in a part, and `**` only as the last part of a path");
  if (before === "" && after === "") return ok(alone);
  if (!/^$|[-_:=+]$/.test(before) || !/^$|^[-_:=+.]/.test(after) || /^\.|\.\.|\.$/.test(segment))
    return bad("`*` stands next to - _ : = or +, or is a whole part: what it is could go on with another's name");
  return ok(`${escaped(before)}${word}${escaped(after)}`);
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}
