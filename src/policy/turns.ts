import { setImmediate as othersTurn } from "node:timers/promises";

/** Work that stops wherever others may have the thread. */
export type Turns<Result> = Generator<undefined, Result, undefined>;

/** How long others wait for the thread at a time, as far as the pieces are small enough, in milliseconds. */
const turnMs = 10;

export function atOnce<Result>(work: Turns<Result>): Result {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** The same for a thread that has other work: it gets its turn in between. */
export async function inTurns<Result>(work: Turns<Result>): Promise<Result> {
  for (;;) {
    const end = performance.now() + turnMs;
    let step = work.next();
    while (step.done !== true && performance.now() < end) step = work.next();
    if (step.done === true) return step.value;
    await othersTurn();
  }
}
