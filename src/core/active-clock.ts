/**
 * How long a run has worked: time in which at least one step is under way that does not wait for people. Pure; times are
 * milliseconds.
 */
export type ActiveClock = {
  readonly activeMs: number;
  readonly running: number;
  readonly since: number;
};

export function startClock(activeMs: number): ActiveClock {
  return { activeMs, running: 0, since: 0 };
}

/** A step begins, or goes on after waiting. */
export function enter(clock: ActiveClock, now: number): ActiveClock {
  return clock.running === 0 ? { ...clock, running: 1, since: now } : { ...clock, running: clock.running + 1 };
}

/** A step ends, or begins to wait. */
export function leave(clock: ActiveClock, now: number): ActiveClock {
  if (clock.running !== 1) return { ...clock, running: clock.running - 1 };
  return { activeMs: clock.activeMs + Math.max(0, now - clock.since), running: 0, since: now };
}

/** Active time so far, the current stretch included. */
export function elapsed(clock: ActiveClock, now: number): number {
  return clock.running === 0 ? clock.activeMs : clock.activeMs + Math.max(0, now - clock.since);
}
