import { setTimeout as sleep } from "node:timers/promises";

const pauseMs = 100;

/** Looks until something is found, or undefined after `withinMs`. */
export async function poll<Found>(
  withinMs: number,
  look: () => Promise<Found | undefined>,
): Promise<Found | undefined> {
  const end = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined || Date.now() > end) return found;
    await sleep(pauseMs);
  }
}
