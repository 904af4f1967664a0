import { createServer } from "node:net";
import { DevError } from "./errors.ts";

const loopback = "127.0.0.1";

/** A port of 127.0.0.1 that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  return listenOnce(0);
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

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: loopback, exclusive: true }, () => {
      const address = server.address();
      const listening = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => resolve(listening));
    });
  });
}
