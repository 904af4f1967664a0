/**
 * The address under which people open this server in a browser. Passkeys are made for it and sign for it alone, so it is a setting and
 * never what a request says.
 */
export type Site = {
  /** Like `https://countersign.example`. */
  readonly origin: string;
  /** What passkeys are scoped to: the host name. */
  readonly rpId: string;
  /** Whether passkeys of virtual authenticators, whose keys can be copied, are taken: in tests. */
  readonly virtualAuthenticators: boolean;
};

export function siteOf(origin: string, virtualAuthenticators: boolean): Site {
  return { origin, rpId: new URL(origin).hostname, virtualAuthenticators };
}
