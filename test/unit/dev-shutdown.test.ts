import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { assertPortFree, createShutdownStack, freePort } from "../../src/dev/index.ts";

test("what was started last stops first; what fails or hangs does not keep the rest running", async () => {
  const stopped: string[] = [];
  const stack = createShutdownStack();
  stack.add("postgres", () => void stopped.push("postgres"), 1_000);
  stack.add("temporal", () => new Promise(() => undefined), 20);
  stack.add("worker", () => Promise.reject(new Error("broken")), 1_000);
  stack.add("server", () => void stopped.push("server"), 1_000);
  const [failures, again] = await Promise.all([stack.run(), stack.run()]);
  expect(stopped).toEqual(["server", "postgres"]);
  expect(failures.map((failure) => failure.name)).toEqual(["worker", "temporal"]);
  expect(again).toBe(failures);
});

test("a port in use names the port, its purpose and the option to change it", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await expect(assertPortFree(port, "the console", "--port")).rejects.toMatchObject({
    code: "port_taken",
    exitCode: 2,
    message: `port ${port} for the console is already in use on 127.0.0.1`,
    hint: expect.stringContaining("--port"),
  });
  await new Promise((resolve) => server.close(resolve));
  await assertPortFree(port, "the console", "--port");
  await assertPortFree(await freePort(), "the console", "--port");
});
