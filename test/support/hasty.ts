/** After how long a worker that died is missed, as `workflows/activities.ts` says it, and in tests that kill them. */
const [patient, hasty] = ['heartbeatTimeout: "12s"', 'heartbeatTimeout: "5s"'];

/** The same workflow code with a shorter heartbeat time-out: a worker that died is missed sooner, and nothing else differs. */
export function hastyCode(code: string): string {
  const parts = code.split(patient);
  if (parts.length !== 2)
    throw new Error(`the workflow code has \`${patient}\` ${parts.length - 1} times, expected once`);
  return parts.join(hasty);
}

/** Of the Temporal server: a process that is stopped (SIGSTOP) is handed tasks, and loses them, for as long as its last polls last; else a minute. */
export const hastyTemporal = { "matching.longPollExpirationInterval": '"5s"' } as const;
