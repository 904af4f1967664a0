const closed = new AbortController();
let failed = false;

/** Aborted when nobody reads the command's output any more (`| head`), or it cannot be written. */
export const outputClosed: AbortSignal = closed.signal;

/**
 * Lets a command whose output cannot be written come to its own end, and its own exit code: half of what it does may be done. What only
 * follows listens to `outputClosed`. A reader who has read enough is no failure; a full disk is one, told on stderr.
 */
export function guardOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    closed.abort();
    if (error.code === "EPIPE" || failed) return;
    failed = true;
    process.exitCode = 2;
    process.stderr.write(`error: the output cannot be written: ${error.message} (environment)\n`);
  });
  process.stderr.on("error", () => undefined);
}

/** The exit code of a command that ended in `code`: 2 where what it said was lost. */
export function exitCodeAfter(code: number): number {
  return failed ? 2 : code;
}
