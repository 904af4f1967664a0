import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";

import { onPath } from "../../src/dev/on-path.ts";
import { runProgram } from "../../src/dev/run-program.ts";

const opaVersion = "v1.22.2";
const buildTimeoutMs = 10 * 60_000;

type LoadedPolicy = { evaluate(input: unknown): readonly { readonly result: unknown }[]; setData(data: object): void };
type OpaWasm = { loadPolicy(wasm: Uint8Array): Promise<LoadedPolicy> };

/** Decides by a Rego policy that is compiled to wasm. */
export type Opa = (input: object) => unknown;

/** The `opa` program: on the PATH, kept from before, or built by `go install`. Undefined, with a word why, where there is none. */
export async function findOpa(print: (line: string) => void): Promise<string | undefined> {
  const given = onPath("opa", process.env["PATH"]);
  if (given !== undefined) return given;
  const cached = cachedOpa();
  if (existsSync(cached)) return cached;
  const go = onPath("go", process.env["PATH"]);
  if (go === undefined) {
    print("OPA is left out: neither `opa` nor `go`, which could build it, is on the PATH");
    return undefined;
  }
  mkdirSync(dirname(cached), { recursive: true });
  const draft = mkdtempSync(join(dirname(cached), ".making-"));
  const started = performance.now();
  const elapsed = (): string => `${Math.round((performance.now() - started) / 1_000)} s`;
  print(`building opa ${opaVersion} with go install (once, a few minutes)`);
  const ticks = setInterval(() => print(`building opa: ${elapsed()}`), 15_000);
  try {
    const { code, output } = await runProgram(go, ["install", `github.com/open-policy-agent/opa@${opaVersion}`], {
      env: { ...process.env, GOBIN: draft },
      signal: AbortSignal.timeout(buildTimeoutMs),
    });
    if (code !== 0) throw new Error(output.trimEnd().split("\n").at(-1));
    renameSync(join(draft, "opa"), cached);
    print(`built opa in ${elapsed()}`);
    return cached;
  } catch (error) {
    print(`OPA is left out: go install failed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  } finally {
    clearInterval(ticks);
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Compiles Rego to wasm with `opa build`, and loads it with OPA's own runtime for JavaScript. */
export async function loadRego(opa: string, rego: string): Promise<Opa> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-opa-"));
  try {
    const [source, bundle] = [join(folder, "policy.rego"), join(folder, "bundle.tar.gz")];
    writeFileSync(source, rego);
    const args = ["build", "--target", "wasm", "--entrypoint", "bench/outcome", "--output", bundle, source];
    const { code, output } = await runProgram(opa, args, { env: process.env });
    if (code !== 0) throw new Error(`opa build failed: ${output.trimEnd()}`);
    const wasm = fileOfTar(gunzipSync(readFileSync(bundle)), "/policy.wasm");
    // Its types are of the browser build; this is the same interface.
    const runtime = createRequire(import.meta.url)("@open-policy-agent/opa-wasm") as OpaWasm;
    const policy = await runtime.loadPolicy(wasm);
    policy.setData({});
    return (input) => policy.evaluate(input)[0]?.result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function cachedOpa(): string {
  const base = process.env["XDG_CACHE_HOME"];
  const cache = base === undefined || base === "" ? join(process.env["HOME"] ?? homedir(), ".cache") : base;
  return join(cache, "countersign", "opa", opaVersion, "opa");
}

/** One file of an archive in ustar format: headers and contents in blocks of 512 bytes. */
function fileOfTar(archive: Buffer, wanted: string): Uint8Array {
  const block = 512;
  for (let at = 0; at + block <= archive.length;) {
    const name = archive.toString("utf8", at, at + 100).replace(/\0.*$/s, "");
    const size = Number.parseInt(archive.toString("utf8", at + 124, at + 136), 8) || 0;
    if (name === wanted) return archive.subarray(at + block, at + block + size);
    at += block + Math.ceil(size / block) * block;
  }
  throw new Error(`the bundle has no ${wanted}`);
}
