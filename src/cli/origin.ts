/** Why browsers would not make passkeys for this origin; undefined if they do. */
export function originFault(origin: string): string | undefined {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url === undefined || url.origin !== origin) return "it is not an origin like https://countersign.example";
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLocalhost(url.hostname)))
    return "browsers make passkeys over https only, or on http://localhost";
  if (/^[\d.]+$|^\[/.test(url.hostname)) return "browsers make passkeys for names, and not for IP addresses";
  return undefined;
}

function isLocalhost(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost");
}
