import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DevError } from "./errors.ts";
import type { Home } from "./home.ts";
import { onPath } from "./on-path.ts";

/**
 * How to start a Postgres program. Postgres refuses to run as root, so under root it runs as an ordinary system user, and
 * every directory above its files must be open to that user.
 */
export type PostgresLauncher = {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** What to put before the program's own command line. */
  readonly wrap: (
    command: string,
    args: readonly string[],
  ) => { readonly command: string; readonly args: readonly string[] };
  /** Makes `path` the property of the user that Postgres runs as. */
  readonly give: (path: string) => void;
};

const direct: PostgresLauncher["wrap"] = (command, args) => ({ command, args });

/** Decides how Postgres runs for `home`, with `programs` the directory of its binaries. */
export function postgresLauncher(home: Home, programs: string): PostgresLauncher {
  if (process.getuid?.() !== 0) return { uid: undefined, gid: undefined, wrap: direct, give: () => undefined };
  const user = systemUser();
  chmodSync(home.root, (statSync(home.root).mode & 0o7777) | 0o011);
  const give = (path: string): void => chownSync(path, user.uid, user.gid);
  const closed = [home.root, programs].flatMap(ancestors).find((directory) => !mayEnter(directory, user));
  if (closed === undefined) return { ...user, wrap: direct, give };
  const setpriv = onPath("setpriv", process.env["PATH"]);
  if (setpriv === undefined) throw closedTo(user.name, closed);
  // Under a directory closed to that user (a checkout in /root or in a `mktemp -d`), the one right root keeps is to pass it.
  const privileges = [
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    // Without it access(2), by which initdb looks for its sibling, ignores the capability.
    "--securebits=+no_setuid_fixup",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
    "--",
  ];
  return {
    uid: undefined,
    gid: undefined,
    give,
    wrap: (command, args) => ({ command: setpriv, args: [...privileges, command, ...args] }),
  };
}

/** Creates a directory for Postgres: 0700, and owned by the user it runs as. */
export function makePostgresDirectory(path: string, launcher: PostgresLauncher): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  launcher.give(path);
}

type SystemUser = { readonly name: string; readonly uid: number; readonly gid: number };

function systemUser(): SystemUser {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const entry = users.find((fields) => fields[0] === name);
    if (entry !== undefined) return { name, uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new DevError("postgres_failed", "postgres does not run as root, and there is no user `postgres` or `nobody`", {
    hint: "run as an ordinary user, or set DATABASE_URL to a Postgres of your own",
  });
}

function closedTo(user: string, directory: string): DevError {
  return new DevError(
    "postgres_failed",
    `postgres does not run as root, and user \`${user}\` may not enter \`${directory}\``,
    {
      hint: "set COUNTERSIGN_HOME to a directory others may enter, run as an ordinary user, or set DATABASE_URL",
    },
  );
}

function ancestors(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...ancestors(parent), path];
}

function mayEnter(directory: string, user: SystemUser): boolean {
  const { mode, uid, gid } = statSync(directory);
  if (uid === user.uid) return (mode & 0o100) !== 0;
  if (gid === user.gid) return (mode & 0o010) !== 0;
  return (mode & 0o001) !== 0;
}
