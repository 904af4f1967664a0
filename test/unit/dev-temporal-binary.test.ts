import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cachedTemporal, findTemporal, rungs } from "../../src/dev/temporal-binary.ts";
import type { Rung } from "../../src/dev/temporal-binary.ts";

/** The real one would leave this machine. */
const offline: Rung = { origin: "download", find: async () => ({ skipped: "the download failed" }) };
const ladder = rungs.map((rung) => (rung.origin === "download" ? offline : rung));
const temporal = '#!/bin/sh\necho "temporal version 1.5.1"\n';
const goThatBuilds = `#!/bin/sh\nprintf '%s' '${temporal}' > "$GOBIN/temporal"\nchmod +x "$GOBIN/temporal"\n`;

let directory: string;
let env: { readonly PATH: string; readonly XDG_CACHE_HOME: string };
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "countersign-unit-"));
  mkdirSync(join(directory, "bin"));
  env = { PATH: `${join(directory, "bin")}:/usr/bin:/bin`, XDG_CACHE_HOME: join(directory, "cache") };
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("the ladder: PATH, then cache, then download, then go install", async () => {
  expect(rungs.map((rung) => rung.origin)).toEqual(["path", "cache", "download", "go"]);

  program(inBin("go"), goThatBuilds);
  const built = await findTemporal({ env }, ladder);
  expect(built).toEqual({ path: cachedTemporal(env), origin: "go" });
  expect(readdirSync(dirname(built.path))).toEqual(["temporal"]);

  rmSync(inBin("go"));
  expect(await findTemporal({ env }, ladder)).toEqual({ path: built.path, origin: "cache" });

  program(inBin("temporal"), temporal);
  expect(await findTemporal({ env }, ladder)).toEqual({ path: inBin("temporal"), origin: "path" });
});

test("a program that does not run is passed over", async () => {
  program(inBin("temporal"), "#!/bin/sh\nexit 1\n");
  program(cachedTemporal(env), "not a program");
  program(inBin("go"), goThatBuilds);
  expect(await findTemporal({ env }, ladder)).toMatchObject({ origin: "go" });
});

test("two builds at once both end with a whole program", async () => {
  program(inBin("go"), goThatBuilds.replace("printf", "sleep 0.1; printf"));
  const found = await Promise.all([findTemporal({ env }, ladder), findTemporal({ env }, ladder)]);
  expect(found.map((binary) => binary.path)).toEqual([cachedTemporal(env), cachedTemporal(env)]);
});

test("when every way is closed, the error says why and lists the four ways", async () => {
  program(inBin("go"), "#!/bin/sh\necho 'go: requires go >= 1.25.0' >&2\nexit 1\n");
  const error = await findTemporal({ env }, ladder).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: "temporal_missing", exitCode: 2 });
  expect(error).toMatchObject({ message: expect.stringContaining("requires go >= 1.25.0") });
  for (const way of ["TEMPORAL_ADDRESS", "on the PATH", "temporal.download", "install Go"]) {
    expect(error).toMatchObject({ hint: expect.stringContaining(way) });
  }
});

test("a build is cancelled with everything it started, and leaves nothing", async () => {
  const marker = join(directory, "survived");
  program(inBin("go"), `#!/bin/sh\n(sleep 0.6; touch ${marker}) &\nwait\n`);
  const cancel = new AbortController();
  const finding = findTemporal(
    { env, signal: cancel.signal, onProgress: () => setTimeout(() => cancel.abort(), 100) },
    ladder,
  );
  await expect(finding).rejects.toMatchObject({ code: "aborted" });
  await new Promise((resolve) => setTimeout(resolve, 800));
  expect(existsSync(marker)).toBe(false);
  expect(readdirSync(dirname(cachedTemporal(env)))).toEqual([]);
});

function inBin(name: string): string {
  return join(directory, "bin", name);
}

function program(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}
