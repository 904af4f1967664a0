import { CliError } from "./cli-error.ts";
import { safe } from "./terminal.ts";

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const isoTime = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})?))?$/;

/** `30d`, `12h`, `2w`, `15m` back from now, or an ISO date (in UTC) or time; as ISO 8601 in UTC. Throws `usage`. */
export function sinceOf(text: string, now: Date): string {
  const match = /^([1-9]\d{0,5})([mhdw])$/.exec(text);
  const back = match === null ? undefined : Number(match[1]) * (unitMs[match[2] ?? ""] ?? 0);
  const time = back === undefined ? isoTimeOf(text, "UTC") : new Date(now.getTime() - back);
  if (time !== undefined) return time.toISOString();
  throw new CliError("usage", `\`${safe(text)}\` is no time`, { hint: "give 30d, 12h, or 2026-11-01" });
}

/** A date, a time of this machine's zone where it names none, or a span after `begins`. Throws `usage`. */
export function timeOf(text: string, flag: string, begins: Date): Date {
  const span = /^([1-9]\d{0,4})([mhd])$/.exec(text);
  if (span !== null) return new Date(begins.getTime() + Number(span[1]) * (unitMs[span[2] ?? ""] ?? Number.NaN));
  const time = isoTimeOf(text, "local");
  if (time !== undefined) return time;
  throw new CliError("usage", `${flag}: \`${safe(text)}\` is no time`, {
    hint: "give 2026-03-31, 2026-03-31T18:00, 2026-03-31T18:00:00Z, or a span: 90m, 8h, 14d",
  });
}

/** Undefined where the calendar has no such day: `Date` makes the 2nd of March of a 30th of February. */
function isoTimeOf(text: string, zoneOfDates: "UTC" | "local"): Date | undefined {
  const [, date, clock] = isoTime.exec(text) ?? [];
  if (date === undefined) return undefined;
  const midnight = new Date(`${date}T00:00Z`);
  if (Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== date) return undefined;
  if (clock === undefined) return zoneOfDates === "UTC" ? midnight : new Date(`${date}T00:00`);
  const time = new Date(`${date}T${clock}`);
  return Number.isNaN(time.getTime()) ? undefined : time;
}
