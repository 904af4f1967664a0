import { createServer } from "node:net";
import { DevError } from "./errors.ts";

const loopback = "127.0.0.1";

/**
 * Below what systems give to outgoing connections (Linux from 32768, others from 49152): no client is given it by chance before its server
 * listens, or while that is dead for a moment.
 */
const [from, to] = [15_000, 32_000];
const tries = 100;

/** A port of 127.0.0.1 that nobody listens on. Throws `port_taken` where none is found. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < tries; tried += 1) {
    const port = from + Math.floor(Math.random() * (to - from));
    if (await listenOnce(port).catch(() => undefined)) return port;
  }
  throw new DevError("port_taken", `no port of ${loopback} between ${from} and ${to} was found free`);
}

/**
 * Throws `port_taken` when somebody listens on `port` of 127.0.0.1. `purpose` says what it is for ("the console"),
 * `option` how to choose another one ("--port or COUNTERSIGN_PORT").
 */
export async function assertPortFree(port: number, purpose: string, option: string): Promise<void> {
  try {
    await listenOnce(port);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "EACCES") {
      throw new DevError("port_taken", `port ${port} for ${purpose} may not be opened by this user`, {
        cause,
        hint: `choose a port above 1023 with ${option}`,
      });
    }
    throw new DevError("port_taken", `port ${port} for ${purpose} is already in use on ${loopback}`, {
      cause,
      hint: `stop what listens there, or choose another port with ${option}`,
    });
  }
}

/** Rejects where `port` cannot be listened at. */
function listenOnce(port: number): Promise<true> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: loopback, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
