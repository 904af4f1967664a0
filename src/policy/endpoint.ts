import { isLoopback } from "../core/loopback.ts";

/**
 * The endpoint that a setting gives: over TLS, or in the clear on loopback, since what is sent there is confidential. Throws what `refuse` makes
 * of what was expected.
 */
export function endpointOf(setting: string, refuse: (expected: string) => Error): URL {
  const url = URL.parse(setting);
  if (url === null) throw refuse("a URL");
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback(url.hostname)))
    throw refuse("https, or http on loopback");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw refuse("a URL without user, query and fragment");
  return url;
}

/** The same below the base that a setting gives. */
export function endpointBelow(base: string, path: string, refuse: (expected: string) => Error): URL {
  const url = endpointOf(base, refuse);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}${path}`;
  return url;
}
