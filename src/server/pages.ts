import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import type { FastifyInstance, FastifyReply } from "fastify";

import { standingIdPattern } from "../approvals/index.ts";
import { approvalIdPattern } from "../core/ids.ts";

/**
 * The pages that people sign on, until the console takes their place: files of `pages/`, which do all else through the API with a token
 * that they hold in memory. Nothing of a request is ever written into a page.
 */
const own = fileURLToPath(new URL("./pages/", import.meta.url));
const library = { name: "@simplewebauthn/browser", url: "/pages/simplewebauthn/" } as const;
/** Its modules lie beside those that `require` finds. */
const libraryFolder = join(dirname(createRequire(import.meta.url).resolve(library.name)), "../esm");

const types = { css: "text/css", html: "text/html", js: "text/javascript" } as const;

/** Only these files run or style anything; no other page may frame one, or keep a handle on it. */
const headers = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy":
    "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()",
} as const;

type File = { readonly type: string; readonly body: string };

/** Serves the pages and their files: each is read once, and there is no other. */
export async function addPages(http: FastifyInstance): Promise<void> {
  const [files, modules] = await Promise.all([filesIn(own), filesIn(libraryFolder)]);
  const config = { access: "public" as const };
  const schema = { hide: true } as object;
  const add = (url: string, file: File): void => {
    http.get(url, { config, schema }, async (_request, reply) => send(reply, file));
  };
  for (const [name, { type, body }] of files) {
    // The one module that is not found by its place.
    if (type !== types.html)
      add(`/pages/${name}`, { type, body: body.replace(`"${library.name}"`, `"${library.url}index.js"`) });
  }
  for (const [name, file] of modules) add(`${library.url}${name}`, file);
  const page = (name: string): File => withParts(files, name);
  add("/keys", page("keys.html"));
  add("/approve", page("approve.html"));
  add("/grants", page("grants.html"));
  const addOne = (url: string, pattern: RegExp, file: File): void => {
    http.get(url, { config, schema }, async ({ params }, reply) => {
      const [id = ""] = Object.values(params as Readonly<Record<string, string>>);
      return pattern.test(id) ? send(reply, file) : reply.callNotFound();
    });
  };
  addOne("/approve/:approval", approvalIdPattern, page("approve.html"));
  addOne("/grants/:grant", standingIdPattern, page("grants.html"));
}

/** A page, with the parts that it names in comments of their own: what several pages have is in one file. */
function withParts(files: ReadonlyMap<string, File>, name: string): File {
  const bodyOf = (one: string): string => {
    const file = files.get(one);
    if (file === undefined) throw new Error(`there is no page or part \`${one}\``);
    return file.body;
  };
  const body = bodyOf(name).replace(/<!-- ([a-z-]+\.html) -->/g, (_, part: string) => bodyOf(part).trimEnd());
  return { type: types.html, body };
}

function send(reply: FastifyReply, { type, body }: File): FastifyReply {
  return reply.headers(headers).type(`${type}; charset=utf-8`).send(body);
}

/** The files of a folder that browsers are given, by their path in it. */
async function filesIn(folder: string): Promise<ReadonlyMap<string, File>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.flatMap((entry) => {
    const type = types[entry.name.split(".").at(-1) as keyof typeof types];
    return entry.isFile() && type !== undefined ? [{ path: join(entry.parentPath, entry.name), type }] : [];
  });
  const read = files.map(async ({ path, type }): Promise<readonly [string, File]> => {
    return [relative(folder, path).replaceAll("\\", "/"), { type, body: await readFile(path, "utf8") }];
  });
  return new Map(await Promise.all(read));
}
