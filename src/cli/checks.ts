import { constants, existsSync } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";

import { createClient } from "../api/index.ts";
import type { Cli } from "./cli.ts";
import { brief } from "./terminal.ts";
import { reportOf } from "./cli-error.ts";
import { oldestPostgres } from "./server-settings.ts";
import { homeOf } from "./settings.ts";

/** One thing that `doctor` looked at. `todo` says what to do where it is not well. */
export type Finding = {
  readonly name: string;
  readonly status: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly todo?: string;
};

const oldestNode = [22, 12] as const;
const leastFreeBytes = 1024 ** 3;
const answerMs = 3_000;

export function checkNode(version: string = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const fits = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const name = "node";
  if (fits) return { name, status: "ok", detail: version };
  return {
    name,
    status: "failed",
    detail: `${version}, needs ${oldestNode.join(".")} or newer`,
    todo: "start through npm, which brings Node 24: npm run countersign",
  };
}

export async function checkHome({ env }: Cli): Promise<readonly Finding[]> {
  const home = homeOf(env);
  // Looking must not make it: where it would be made has to be writable.
  const place = existsSync(home) ? home : nearestExisting(dirname(home));
  const choose = "choose another data directory with COUNTERSIGN_HOME";
  try {
    await access(place, constants.W_OK);
  } catch {
    return [{ name: "data directory", status: "failed", detail: `${place} cannot be written`, todo: choose }];
  }
  const { bavail, bsize } = await statfs(place);
  const free = bavail * bsize;
  const gigabytes = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
  const disk: Finding =
    free >= leastFreeBytes
      ? { name: "disk", status: "ok", detail: gigabytes }
      : { name: "disk", status: "failed", detail: gigabytes, todo: `make room, or ${choose}` };
  return [{ name: "data directory", status: "ok", detail: home }, disk];
}

export async function checkKeys({ env }: Cli): Promise<readonly Finding[]> {
  const secrets = join(homeOf(env), "secrets");
  return Promise.all(
    ["payload.key", "ledger.pem", "reviewer.pem"].map(async (file): Promise<Finding> => {
      const name = `key ${file}`;
      const path = join(secrets, file);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined)
        return { name, status: "warning", detail: "not there yet", todo: "`npm start` makes it" };
      if ((found.mode & 0o077) !== 0)
        return { name, status: "failed", detail: "others on this machine may read it", todo: `chmod 600 ${path}` };
      return { name, status: "ok", detail: path };
    }),
  );
}

export async function checkPostgres({ env }: Cli): Promise<Finding> {
  const name = "postgres";
  const url = env["DATABASE_URL"];
  if (url === undefined || url === "")
    return { name, status: "ok", detail: "embedded: `npm start` brings it (DATABASE_URL is not set)" };
  try {
    const { checkPostgres: check } = await import("../dev/index.ts");
    const version = await check(url, oldestPostgres);
    return { name, status: "ok", detail: `version ${Math.floor(version / 10_000)} answers at DATABASE_URL` };
  } catch (error) {
    const { message, hint } = reportOf(error);
    return { name, status: "failed", detail: message, todo: hint ?? "check DATABASE_URL" };
  }
}

export async function checkTemporal({ env }: Cli): Promise<Finding> {
  const name = "temporal";
  const address = env["TEMPORAL_ADDRESS"];
  if (address === undefined || address === "")
    return { name, status: "ok", detail: "embedded: `npm start` brings it (TEMPORAL_ADDRESS is not set)" };
  const [, host = "", port = ""] = /^(.+):(\d+)$/.exec(address) ?? [];
  if (await isOpen(host, Number(port))) return { name, status: "ok", detail: `${address} answers` };
  return {
    name,
    status: "failed",
    detail: `${address} does not answer`,
    todo: "start it, or unset TEMPORAL_ADDRESS to use the embedded one",
  };
}

/** The server and the port it would have: taken by somebody else is what stops `npm start`. */
export async function checkServer({ connection }: Cli): Promise<readonly Finding[]> {
  const { url, token } = connection;
  const { hostname, port } = new URL(url);
  if (!(await isOpen(hostname, Number(port === "" ? 80 : port)))) {
    return [{ name: "server", status: "warning", detail: `nothing listens at ${url}`, todo: "npm start" }];
  }
  const client = createClient({ baseUrl: url, token, timeoutMs: answerMs });
  try {
    const health = await client.health({});
    const server: Finding =
      health.status === "ok"
        ? { name: "server", status: "ok", detail: `${url}, with postgres and temporal` }
        : {
            name: "server",
            status: "failed",
            detail: `${url}: postgres ${health.postgres}, temporal ${health.temporal}`,
            todo: "see the server's log",
          };
    return [server, checkLedger(health.ledger), await checkToken(client), ...(await checkNotices(client))];
  } catch (error) {
    const { message } = reportOf(error);
    return [
      {
        name: "server",
        status: "failed",
        detail: message,
        todo: "if something else has this port, choose another with COUNTERSIGN_PORT",
      },
    ];
  }
}

/** Nobody looks at a list of receivers while nothing seems to be wrong. */
async function checkNotices(client: ReturnType<typeof createClient>): Promise<readonly Finding[]> {
  const name = "notices";
  const page = await client.listReceivers({ query: { limit: 200 } }).catch(() => undefined);
  // That the token is not good is told beside it.
  if (page === undefined || page.receivers.length === 0) return [];
  const troubled = page.receivers.filter(({ disabled, failed, queued, reason }) => {
    return disabled !== null || failed > 0 || (queued > 0 && reason !== null);
  });
  const of = `${page.receivers.length}${page.next === null ? "" : " or more"} receivers`;
  if (troubled.length === 0) return [{ name, status: "ok", detail: `${of}, and none has trouble` }];
  const shown = troubled
    .slice(0, 3)
    .map(({ id, disabled, reason }) => `${id}: ${disabled?.reason ?? reason ?? "failed"}`);
  const detail = `${troubled.length} of ${of} have trouble: ${brief(shown.join("; "), 300)}`;
  return [{ name, status: "warning", detail, todo: "countersign notify list" }];
}

function checkLedger(ledger: "ok" | "stopped"): Finding {
  const name = "ledger";
  if (ledger === "ok") return { name, status: "ok", detail: "logs are signed" };
  return {
    name,
    status: "failed",
    detail: "a log contradicts what was signed of it before, and is signed no more",
    todo: 'countersign ledger list tells which and why; docs/ledger.md, "A restored database", what to do',
  };
}

async function checkToken(client: ReturnType<typeof createClient>): Promise<Finding> {
  const name = "token";
  try {
    const me = await client.whoAmI({});
    const held = me.roles.map(
      (role) => `${role}${role in me.roleTeams ? ` for ${me.roleTeams[role]?.join(", ")}` : ""}`,
    );
    return { name, status: "ok", detail: `${me.id}: ${held.join("; ")}` };
  } catch (error) {
    const { message, hint } = reportOf(error);
    return { name, status: "failed", detail: message, todo: hint ?? "set COUNTERSIGN_TOKEN" };
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}

function isOpen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: host.replace(/^\[|\]$/g, ""), port, timeout: answerMs });
    const end = (open: boolean) => () => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", end(true)).once("error", end(false)).once("timeout", end(false));
  });
}
