import type { LookupAddress, LookupOptions } from "node:dns";
import { lookup as resolve } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

import { ToolError } from "./define-tool.ts";

/**
 * Addresses that no HTTP tool is for. A release pins a tool's URL, and a company's own services, on loopback and in private networks, are what
 * tools are for. But a machine's link-local neighbours, above all the metadata service of its cloud, hand out its credentials to
 * whoever asks, and nobody runs a tool there; nor at an address that is no single host's.
 */
const refused = new BlockList();
const v4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  // Metadata of Alibaba Cloud and of Oracle Cloud's older images.
  ["100.100.100.200", 32],
  ["192.0.0.192", 32],
  ["224.0.0.0", 3],
];
for (const [network, bits] of v4) {
  refused.addSubnet(network, bits, "ipv4");
  // The same by way of a translator (RFC 6052), by 6to4, and as the old "compatible" form. Mapped ones the list knows itself.
  refused.addSubnet(embedded("64:ff9b::", network), 96 + bits, "ipv6");
  refused.addSubnet(embedded("2002:", network), 16 + bits, "ipv6");
  // But `::1` is loopback.
  if (network !== "0.0.0.0") refused.addSubnet(embedded("::", network), 96 + bits, "ipv6");
}
const v6: readonly (readonly [string, number])[] = [
  ["::", 128],
  ["fe80::", 10],
  ["ff00::", 8],
  // Metadata of AWS and of Google Cloud.
  ["fd00:ec2::254", 128],
  ["fd20:ce::254", 128],
];
for (const [network, bits] of v6) refused.addSubnet(network, bits, "ipv6");

/** An IPv4 address after an IPv6 prefix. */
function embedded(prefix: string, address: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  const [high, low] = [((a << 8) | b).toString(16), ((c << 8) | d).toString(16)];
  return prefix.endsWith("::") ? `${prefix}${high}:${low}` : `${prefix}${high}:${low}::`;
}

/** Throws `ToolError` where a tool's URL names such an address itself; names are looked at when they are resolved. */
export function assertReachable(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 && isRefused(host)) throw refusal();
}

function isRefused(address: string): boolean {
  return refused.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function refusal(): ToolError {
  return new ToolError("the tool's address is link-local, or no single host's: nothing is sent there");
}

type Tell = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** For `http.request`: what it connects to is what was looked at. A name with any refused address is refused. */
export function guardedLookup(host: string, options: LookupOptions, tell: Tell): void {
  resolve(host, { ...options, all: true }).then(
    (found) => {
      const [first] = found;
      if (first === undefined || found.some(({ address }) => isRefused(address))) tell(refusal(), []);
      else if (options.all === true) tell(null, found);
      else tell(null, first.address, first.family);
    },
    (error: Error) => tell(error, []),
  );
}
