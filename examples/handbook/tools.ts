import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { defineTool } from "countersign";

/** Each mail is a file of the outbox, named by its key: a step that is tried again writes the same one. */
export const sendMail = defineTool({
  name: "send_mail",
  description: "Sends a mail.",
  input: z.strictObject({
    to: z.email().max(200),
    subject: z.string().min(1).max(200),
    text: z.string().min(1).max(10_000),
  }),
  effect: "egress",
  groups: ["mail"],
  idempotency: "key",
  destinations: ["to"],
  results: { origin: "trusted", confidentiality: "public" },
  async execute(mail, { idempotencyKey }) {
    await mkdir(outbox(), { recursive: true });
    await writeFile(join(outbox(), `${idempotencyKey}.json`), JSON.stringify(mail));
    return { sent: mail.to };
  },
});

const outbox = (): string => process.env["OUTBOX"] ?? fileURLToPath(new URL("outbox", import.meta.url));
