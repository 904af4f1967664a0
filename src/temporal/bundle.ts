import { fileURLToPath } from "node:url";

import { bundleWorkflowCode } from "@temporalio/worker";

import { CodedError } from "../core/errors.ts";
import type { Digest } from "../core/ids.ts";
import { sha256 } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { failureConverterPath } from "./codec.ts";

export class TemporalError extends CodedError<
  "temporal_unavailable" | "bundle_incomplete" | "gate_missing" | "run_already_started" | "run_not_found"
> {}

const workflowsPath = fileURLToPath(new URL("../../workflows/index.ts", import.meta.url));
const interceptorsPath = fileURLToPath(new URL("../../workflows/interceptors.ts", import.meta.url));

/** What the interceptor module leaves in a bundle that has it. */
const interceptorMark = "not governed, so a workflow here cannot use it";

export type WorkflowBundle = { readonly code: string; readonly digest: Digest };

/**
 * The workflow code as Temporal runs it, with its SHA-256. Throws `bundle_incomplete` where the governing interceptors are not in
 * it: a worker would run such a bundle without a word.
 */
export async function bundleWorkflows(): Promise<WorkflowBundle> {
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    workflowInterceptorModules: [interceptorsPath],
    failureConverterPath,
    logger: quiet,
  });
  return checkedBundle(code);
}

function checkedBundle(code: string): WorkflowBundle {
  if (!code.includes(interceptorMark)) {
    throw new TemporalError("bundle_incomplete", "workflow bundle lacks the governing interceptors");
  }
  return { code, digest: sha256(code) };
}

/** Keeps the code, so that a run can be replayed with what it ran. */
export async function keepBundle(tx: Tx, bundle: WorkflowBundle): Promise<void> {
  await tx.query("insert into workflow_bundle (digest, code) values ($1, $2) on conflict (digest) do nothing", [
    bundle.digest,
    Buffer.from(bundle.code, "utf8"),
  ]);
}

export async function readBundle(tx: Tx, digest: Digest): Promise<string | undefined> {
  const { rows } = await tx.query<{ code: Buffer }>("select code from workflow_bundle where digest = $1", [digest]);
  return rows[0]?.code.toString("utf8");
}

const quiet = {
  log: () => undefined,
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: (message: string) => void process.stderr.write(`${message}\n`),
  error: (message: string) => void process.stderr.write(`${message}\n`),
};
