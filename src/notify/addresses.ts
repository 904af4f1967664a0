import { lookup as resolve } from "node:dns/promises";
import type { LookupAddress, LookupOptions } from "node:dns";
import { isIP } from "node:net";

import ipaddr from "ipaddr.js";

import { NotifyError } from "./errors.ts";

/**
 * Which addresses notices may be sent to. A URL comes from whoever may add a receiver; the server that connects to it stands inside the
 * operator's network. So only public addresses are connected to, and whatever ranges the operator allows beside.
 */
export type AddressGuard = {
  /** Throws `address_refused` for a URL that is no address for notices, whatever its name resolves to. */
  readonly assertUrl: (url: URL) => void;
  /** For `http.request`: what it answers with is what was checked, and is what is connected to. A name with any refused address is refused. */
  readonly lookup: (host: string, options: LookupOptions, tell: Tell) => void;
};

type Tell = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/** `allowed`: addresses and ranges (CIDR), with `,` between them. Throws `setting_invalid`. */
export function createAddressGuard(
  allowed: string,
  resolver: (host: string) => Promise<LookupAddress[]> = (host) => resolve(host, { all: true, verbatim: true }),
): AddressGuard {
  const ranges = allowed
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "")
    .map(rangeOf);
  const isAllowed = (address: string): boolean => ranges.some((range) => isIn(address, range));
  const mayReach = (address: string): boolean => isPublic(address) || isAllowed(address);

  return {
    assertUrl(url) {
      if (url.username !== "" || url.password !== "") {
        throw new NotifyError("address_refused", "the URL has a user or a password in it");
      }
      const host = hostOf(url);
      const literal = isIP(host) !== 0;
      if (literal && !mayReach(host)) throw refusal(host);
      // In the clear only where the operator says that the way there is theirs: that is known of addresses, not of names.
      const clear = url.protocol === "http:" && literal && isAllowed(host);
      if (url.protocol !== "https:" && !clear) {
        throw new NotifyError("address_refused", "expected an https URL", {
          hint: "http is for addresses that the operator allows in COUNTERSIGN_NOTIFY_ALLOW",
        });
      }
    },

    lookup(host, options, tell) {
      const answered = resolver(host).then((addresses) => {
        const refused = addresses.find(({ address }) => !mayReach(address));
        if (refused !== undefined) throw refusal(refused.address);
        const usable = addresses.filter(({ family }) => !options.family || options.family === family);
        const [first] = usable;
        if (first === undefined) throw Object.assign(new Error("the name has no address"), { code: "ENOTFOUND" });
        return { usable, first };
      });
      answered.then(
        ({ usable, first }) => (options.all === true ? tell(null, usable) : tell(null, first.address, first.family)),
        (error: NodeJS.ErrnoException) => tell(error, []),
      );
    },
  };
}

function refusal(address: string): NotifyError {
  return new NotifyError("address_refused", `${address} is not a public address`, {
    hint: "the operator of the server may allow it: COUNTERSIGN_NOTIFY_ALLOW",
  });
}

function rangeOf(text: string): Range {
  try {
    return text.includes("/") ? ipaddr.parseCIDR(text) : single(ipaddr.process(text));
  } catch (cause) {
    throw new NotifyError("setting_invalid", `\`${text}\` is not an address or a range`, {
      cause,
      hint: "expected addresses and CIDR ranges with `,` between them, such as 127.0.0.1,10.1.0.0/16",
    });
  }
}

function single(address: ipaddr.IPv4 | ipaddr.IPv6): Range {
  return [address, address.kind() === "ipv4" ? 32 : 128];
}

/** `process` takes an IPv4 address out of its IPv6 form: ::ffff:127.0.0.1 is 127.0.0.1. */
function isIn(address: string, [network, bits]: Range): boolean {
  const parsed = ipaddr.process(address);
  return parsed.kind() === network.kind() && parsed.match(network, bits);
}

/** Only what is nothing else: no loopback, private, link-local, shared, multicast, reserved, mapped or tunnelled address. */
function isPublic(address: string): boolean {
  const parsed = ipaddr.process(address);
  // Of IPv6, only 2000::/3 is given out (RFC 4291 §2.4): `::7f00:1` is another way to write 127.0.0.1.
  return parsed.range() === "unicast" && (parsed.kind() === "ipv4" || parsed.match(globalUnicast));
}

const globalUnicast = ipaddr.parseCIDR("2000::/3");

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}
