import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";

import type { Trust } from "../../src/audit/offline/index.ts";

/** What the verifier in Python says of a bundle: `test/independent/verify_bundle.py`, which shares no code with ours. */
export type SecondOpinion = {
  readonly verdict: "verified" | "refuted" | "incomplete";
  /** Of a refuted one. */
  readonly why?: string;
};

export type SecondReader = {
  ask(directory: string, trust: Trust, pinned: readonly string[]): Promise<SecondOpinion>;
  stop(): void;
};

export const hasPython = spawnSync("python3", ["--version"]).status === 0;

/** One process for many bundles, one after the other. */
export function startSecondReader(): SecondReader {
  const child = spawn("python3", ["test/independent/verify_bundle.py", "--serve"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(directory, trust, pinned) {
      child.stdin.write(`${JSON.stringify({ directory, trust, pinned })}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error("the second reader has ended");
      return JSON.parse(value as string) as SecondOpinion;
    },
    stop: () => void child.stdin.end(),
  };
}
