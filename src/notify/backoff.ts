/** How long a notice is tried for, from when it was queued. */
const givenUpAfterMs = 24 * 3_600_000;
const firstDelayMs = 5_000;
const longestDelayMs = 3_600_000;

/**
 * When a notice whose `attempts`-th attempt failed is tried next, or undefined where it is given up. 5 s, three times as much after each
 * attempt, at most an hour; spread from half to one and a half of that by `random` (0 to 1), so that what failed together is not tried
 * together; not before the receiver wants it (`retryAfterMs`, at most an hour is heeded); for 24 hours.
 */
export function nextAttempt(attempt: {
  readonly attempts: number;
  readonly queuedAt: Date;
  readonly now: Date;
  readonly random: number;
  readonly retryAfterMs?: number | undefined;
}): Date | undefined {
  const { attempts, queuedAt, now, random, retryAfterMs = 0 } = attempt;
  const delay = Math.min(firstDelayMs * 3 ** Math.min(attempts - 1, 20), longestDelayMs) * (0.5 + random);
  const next = now.getTime() + Math.max(delay, Math.min(retryAfterMs, longestDelayMs));
  return next > queuedAt.getTime() + givenUpAfterMs ? undefined : new Date(next);
}
