import type { FreezeView } from "../api/index.ts";
import { localTime, safe } from "./terminal.ts";

type Target = {
  readonly team?: string | null | undefined;
  readonly agent?: string | null | undefined;
  readonly tool?: string | null | undefined;
};

/** `tool pay of team shop`; `everything` where nothing is named. */
export function nameOfFrozen({ team, agent, tool }: Target): string {
  const parts = [
    ...(tool ? [`tool ${tool}`] : []),
    ...(agent ? [`agent ${team}/${agent}`] : team ? [`team ${team}`] : []),
  ];
  return parts.length === 0 ? "everything" : parts.join(" of ");
}

/** `tool pay: incident 7 (olga, 2026-11-24 21:15:18)`. */
export function frozenText(one: FreezeView): string {
  return `${nameOfFrozen(one)}: ${safe(one.reason)} (${safe(one.by)}, ${localTime(one.at)})`;
}
