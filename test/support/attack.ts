import { fileURLToPath } from "node:url";

import { NativeConnection, Worker } from "@temporalio/worker";

import { createPayloadCodec } from "../../src/temporal/index.ts";
import { freshTaskQueue, testTemporal } from "./temporal.ts";
import type { World } from "./world.ts";

/** Runs foreign workflow code, without our interceptors, that sends activities to our worker. */
export async function attack(
  world: World,
  workflowId: string,
  calls: readonly { activity: string; input: unknown; taskQueue?: string }[],
  atOnce = false,
): Promise<unknown> {
  const { address, namespace } = testTemporal();
  const taskQueue = freshTaskQueue("hostile");
  const connection = await NativeConnection.connect({ address });
  const workflowsPath = fileURLToPath(new URL("../fixtures/hostile-workflow.ts", import.meta.url));
  // Somebody with all that a worker has.
  const dataConverter = { payloadCodecs: [createPayloadCodec(world.pool, world.keys)] };
  const worker = await Worker.create({ connection, namespace, taskQueue, workflowsPath, dataConverter });
  try {
    return await worker.runUntil(
      world.client.workflow.execute("hostile", {
        workflowId,
        taskQueue,
        args: [world.taskQueue, calls, atOnce],
        workflowExecutionTimeout: "60s",
      }),
    );
  } finally {
    await connection.close();
  }
}
