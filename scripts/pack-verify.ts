/**
 * `npm run pack:verify [-- --out DIR]`: makes the verifier's own package, `countersign-verify-VERSION.tgz`: the sources that it
 * reaches, with their types stripped, and the npm packages that it needs in it, so that it installs without a network. Those are listed in
 * `scripts/verify-packages.json`; what is reached beyond it, or listed and not reached, ends this with exit code 1.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, posix, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const main = "src/audit/offline/main.ts";
const index = "src/audit/offline/index.ts";

type Manifest = {
  readonly version: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
};

const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
const out = resolve(values.out);
const folder = mkdtempSync(join(tmpdir(), "countersign-verify-"));
try {
  const reached = writeSources([main, index]);
  const listed = readJson<readonly string[]>(join(root, "scripts/verify-packages.json"));
  const off = [...reached.symmetricDifference(new Set(listed))];
  if (off.length > 0)
    throw new Error(`the verifier's packages are not those of scripts/verify-packages.json: ${off.join(", ")}`);
  for (const name of listed) copyPackage(name);
  writeManifest(listed);
  for (const name of ["LICENSE", "docs/evidence-format.md"])
    cpSync(join(root, name), join(folder, posix.basename(name)));
  mkdirSync(out, { recursive: true });
  const packed = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", out], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [file] = /countersign-verify-[^"/]*\.tgz/.exec(packed) ?? [];
  if (file === undefined) throw new Error(`npm pack said: ${packed}`);
  console.log(join(out, file));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Writes what `entries` reach as JavaScript, in the same folders and with the same lines, and returns the npm packages that it imports. */
function writeSources(entries: readonly string[]): Set<string> {
  const packages = new Set<string>();
  const waiting = [...entries];
  const done = new Set<string>();
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (done.has(path)) continue;
    done.add(path);
    const from = path;
    const text = stripTypeScriptTypes(readFileSync(join(root, path), "utf8")).replaceAll(
      /(\bfrom\s*|\bimport\s*\(?\s*|\brequire(?:\.resolve)?\(\s*)"([^"\n]+)"/g,
      (all, before: string, target: string) => {
        if (!target.startsWith(".")) {
          if (!target.startsWith("node:")) packages.add(packageOf(target));
          return all;
        }
        waiting.push(posix.join(posix.dirname(from), target));
        return `${before}"${target.replace(/\.ts$/, ".js")}"`;
      },
    );
    const file = join(folder, path.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return packages;
}

function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** As it is installed here, with what it needs itself, without types and source maps. */
function copyPackage(name: string): void {
  const [from, to] = [join(root, "node_modules", name), join(folder, "node_modules", name)];
  if (existsSync(to)) return;
  // Cedar's builds for the web are not for Node.
  const unused = /\.(map|d\.[cm]?ts)$|cedar-wasm\/(web|esm)$|node_modules\/zod\/src$/;
  cpSync(from, to, { recursive: true, filter: (path) => !unused.test(path) });
  const { dependencies = {} } = readJson<Partial<Manifest>>(join(from, "package.json"));
  for (const needed of Object.keys(dependencies))
    if (!existsSync(join(from, "node_modules", needed))) copyPackage(needed);
}

function writeManifest(listed: readonly string[]): void {
  const { version, license, dependencies } = readJson<Manifest>(join(root, "package.json"));
  const manifest = {
    name: "countersign-verify",
    version,
    description: "Verifies Countersign's evidence bundles offline: no server, database or network.",
    license,
    type: "module",
    engines: { node: ">=20" },
    bin: { "countersign-verify": main.replace(/\.ts$/, ".js") },
    exports: { ".": `./${index.replace(/\.ts$/, ".js")}` },
    dependencies: Object.fromEntries(listed.map((name) => [name, dependencies[name]])),
    bundleDependencies: listed,
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

function readJson<Value>(path: string): Value {
  return JSON.parse(readFileSync(path, "utf8")) as Value;
}
