import type { Tx } from "../store/index.ts";

/** By Postgres' clock, unless another was given. */
export async function moment(tx: Tx, clock: (() => Date) | undefined): Promise<Date> {
  if (clock !== undefined) return clock();
  const { rows } = await tx.query<{ at: Date }>("select clock_timestamp() as at");
  if (rows[0] === undefined) throw new TypeError("the database does not tell the time");
  return rows[0].at;
}

/** Goes on from a moment that has just been read: a decision is as of that, and while others are asked, time passes. */
export function since(at: Date): () => Date {
  const begun = performance.now();
  return () => new Date(at.getTime() + performance.now() - begun);
}
