import { createServer } from "node:net";

/** Below what Linux gives to outgoing connections: a port whose server is dead for a while is still its own when it comes back. */
const [from, to] = [15_000, 32_000];

/** A port of 127.0.0.1 that nobody listens on, and that no client is given by chance. */
export async function quietPort(): Promise<number> {
  for (;;) {
    const port = from + Math.floor(Math.random() * (to - from));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
