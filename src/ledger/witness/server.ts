import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { parseNote, signatureLine } from "../proof/index.ts";
import type { Signer, VerifierKey } from "../proof/index.ts";
import { judgeRequest, parseRequest } from "./add-checkpoint.ts";
import type { Judgement } from "./add-checkpoint.ts";
import type { WitnessState } from "./state.ts";

/** A note with a hundred signatures and a proof fits several times. */
const maxBodyBytes = 64 * 1024;
const requestTimeoutMs = 10_000;

export type WitnessOptions = {
  readonly host: string;
  readonly port: number;
  /** The keys of the logs that it witnesses, as their operators published them. A key's name is the log's origin. */
  readonly logs: readonly VerifierKey[];
  /** A cosigner: see `createCosigner`. */
  readonly signer: Signer;
  readonly state: WitnessState;
  readonly onEvent: (line: string) => void;
};

/**
 * A witness (C2SP tlog-witness), meant to be run by somebody other than the log's operator: it cosigns each checkpoint that grew out of the
 * last one it cosigned, and nothing else, ever.
 */
export async function startWitness(
  options: WitnessOptions,
): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> {
  const inTurn = turns();
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    answer(options, inTurn, request, response).catch((error: unknown) => {
      options.onEvent(`could not answer: ${error instanceof Error ? error.message : String(error)}`);
      if (!response.headersSent) say(response, 500, "the witness cannot answer now; its operator's log says why\n");
    });
  });
  await listen(server, options.port, options.host);
  const { address, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  options: WitnessOptions,
  inTurn: ReturnType<typeof turns>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://witness");
  if (pathname !== "/add-checkpoint") return say(response, 404, "only /add-checkpoint is served\n");
  if (request.method !== "POST") return say(response, 405, "add-checkpoint takes POST\n", { allow: "POST" });
  const body = await bodyOf(request);
  if (body === undefined)
    return say(response, 413, `a request has at most ${maxBodyBytes} bytes\n`, { connection: "close" });
  // Comparing with the last checkpoint and replacing it must not be interrupted by another request.
  const { judgement, line } = await inTurn(() => judge(options, body));
  switch (judgement.status) {
    case 200:
      return say(response, 200, line ?? "");
    case 409:
      return say(response, 409, `${judgement.size}\n`, { "content-type": "text/x.tlog.size" });
    case 400:
    case 403:
    case 404:
    case 422:
      return say(response, judgement.status, `${judgement.why}\n`);
  }
}

async function judge(
  { logs, signer, state, onEvent }: WitnessOptions,
  body: string,
): Promise<{ readonly judgement: Judgement; readonly line?: string }> {
  const request = parseRequest(body);
  const origin = request?.note.slice(0, request.note.indexOf("\n")) ?? "";
  const keys = logs.filter(({ name }) => name === origin);
  const latest = keys.length === 0 ? undefined : await state.latest(origin);
  const judgement = judgeRequest(body, (asked) => (asked === origin && keys.length > 0 ? { keys, latest } : undefined));
  if (judgement.status === 200) {
    await state.remember(origin, judgement.text);
    onEvent(`cosigned size ${judgement.checkpoint.size} of ${origin}`);
    return { judgement, line: signatureLine(signer, Buffer.from(judgement.text)) };
  }
  if (judgement.signed && request !== undefined && contradicts(judgement, request.note, latest?.size)) {
    const path = await state.keepContradiction(ownNote(request.note, keys));
    onEvent(`REFUSED a checkpoint of ${origin}: ${judgement.why}; the log signed it, and it is kept in ${path}`);
  } else {
    onEvent(`refused (${judgement.status}): ${judgement.why}`);
  }
  return { judgement };
}

/** The note with the log's own signatures alone: anybody can add others, without end, and they prove nothing. */
function ownNote(note: string, keys: readonly VerifierKey[]): string {
  const { text, signatures } = parseNote(note);
  const lines = note.slice(text.length + 1).split(/(?<=\n)/);
  const own = lines.filter((_, place) =>
    keys.some(({ name, keyId }) => name === signatures[place]?.name && keyId === signatures[place].keyId),
  );
  return `${text}\n${[...new Set(own)].join("")}`;
}

/**
 * An old note, or one that came for another size, says nothing against the log. Another root of the same size proves a fork; a larger tree
 * without a proof that holds is kept too, since its log owes the proof: whoever sent it may have left that out.
 */
function contradicts(judgement: Judgement, note: string, known: number | undefined): boolean {
  if (judgement.status === 422) return true;
  return judgement.status === 409 && note.split("\n")[1] === String(known) && judgement.why.startsWith("another root");
}

async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function say(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", ...headers }).end(body);
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** One after the other. */
function turns(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
}
