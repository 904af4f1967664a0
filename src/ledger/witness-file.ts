import { readFile } from "node:fs/promises";

import { z } from "zod";

import { LedgerError } from "./errors.ts";
import { parseCosignerKey } from "./proof/index.ts";
import type { Witness } from "./witnesses.ts";

/** Who cosigns checkpoints, and how many have to before one is published as cosigned. */
export type Witnesses = { readonly witnesses: readonly Witness[]; readonly quorum: number };

const witnessFile = z
  .strictObject({
    quorum: z.int().min(1).optional(),
    witnesses: z
      .array(
        z.strictObject({
          url: z.url({ protocol: /^https?$/ }).refine(hasNoUser, "has a user"),
          verifierKey: z.string(),
        }),
      )
      .min(1),
  })
  .refine(({ quorum, witnesses }) => (quorum ?? 1) <= witnesses.length, "quorum is more than there are witnesses");

/** An address is shown and logged, and fetch asks none that has a password in it. */
function hasNoUser(address: string): boolean {
  const url = URL.parse(address);
  return url?.username === "" && url.password === "";
}

/**
 * Reads `{"quorum": 1, "witnesses": [{"url": "http://…", "verifierKey": "name+hash+base64"}]}`; without a quorum, all of them. Throws
 * `witness_unusable`.
 */
export async function loadWitnesses(path: string): Promise<Witnesses> {
  try {
    const { quorum, witnesses } = witnessFile.parse(JSON.parse(await readFile(path, "utf8")));
    return {
      quorum: quorum ?? witnesses.length,
      witnesses: witnesses.map(({ url, verifierKey }) => ({ url, verifierKey, key: parseCosignerKey(verifierKey) })),
    };
  } catch (cause) {
    const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
    const why = issue === undefined ? (cause as Error).message : `${issue.path.join(".")}: ${issue.message}`;
    throw new LedgerError("witness_unusable", `\`${path}\` does not name witnesses: ${why}`, {
      cause,
      hint: '{"quorum": 1, "witnesses": [{"url": "http://127.0.0.1:7181", "verifierKey": "…"}]}, with the key that `ledger witness` prints',
    });
  }
}
