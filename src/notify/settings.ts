import { createAddressGuard } from "./addresses.ts";
import { NotifyError } from "./errors.ts";
import { mailSettings } from "./mail.ts";
import type { SendOptions } from "./send.ts";

/** How a server sends notices. */
export type NotifyOptions = SendOptions & {
  /** How long a notice is left alone that somebody has begun to send. */
  readonly leaseMs: number;
};

const defaults = { timeoutMs: 15_000, leaseMs: 60_000, slackApi: "https://slack.com/api/" } as const;

/** From the operator's environment. Throws `setting_invalid`. */
export function notifyOptionsOf(env: Readonly<Record<string, string | undefined>>): NotifyOptions {
  const given = (name: string): string | undefined => env[name] || undefined;
  const smtp = given("COUNTERSIGN_SMTP_URL");
  const timeoutMs = millisecondsOf(given("COUNTERSIGN_NOTIFY_TIMEOUT_MS"), defaults.timeoutMs);
  return {
    guard: createAddressGuard(given("COUNTERSIGN_NOTIFY_ALLOW") ?? ""),
    mail:
      smtp === undefined ? undefined : mailSettings(smtp, given("COUNTERSIGN_SMTP_FROM") ?? "countersign@localhost"),
    slackApi: urlOf("COUNTERSIGN_SLACK_API_URL", given("COUNTERSIGN_SLACK_API_URL") ?? defaults.slackApi),
    timeoutMs,
    leaseMs: Math.max(defaults.leaseMs, timeoutMs * 2),
  };
}

function millisecondsOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 100 && value <= 60_000) return value;
  throw new NotifyError("setting_invalid", "COUNTERSIGN_NOTIFY_TIMEOUT_MS: expected 100 to 60000");
}

/** With a `/` at its end, so that names below it resolve. */
function urlOf(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new NotifyError("setting_invalid", `${name}: expected an http or https URL without query`);
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}
