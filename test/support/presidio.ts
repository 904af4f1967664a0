import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What an analyzer finds: literal texts and what they are. */
export type Finding = { readonly text: string; readonly entity: string; readonly score?: number };

export type PresidioServer = {
  readonly url: string;
  readonly asked: readonly { readonly url: string | undefined; readonly body: Record<string, unknown> }[];
  /** How it answers from now on, `analyse` being what an analyzer does; undefined: that. */
  answer(how: Answer | undefined): void;
  close(): Promise<void>;
};

type Answer = (response: ServerResponse, analyse: () => void) => void | Promise<void>;

/** A small analyzer that speaks Presidio's API, `POST /analyze`, over real HTTP. */
export async function startPresidio(findings: readonly Finding[]): Promise<PresidioServer> {
  const asked: { url: string | undefined; body: Record<string, unknown> }[] = [];
  let how: Answer | undefined;
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (piece: Buffer) => (text += piece.toString()));
    request.on("end", () => {
      const body = JSON.parse(text) as Record<string, unknown>;
      asked.push({ url: `${request.method} ${request.url}`, body });
      if (how !== undefined) return void how(response, analyse);
      return analyse();

      function analyse(): void {
        if (request.method !== "POST" || request.url !== "/analyze") return void response.writeHead(404).end();
        const found = findings.flatMap(({ text: literal, entity, score = 0.85 }) => {
          const start = String(body["text"]).indexOf(literal);
          const end = start + literal.length;
          return start < 0 ? [] : [{ analysis_explanation: null, entity_type: entity, start, end, score }];
        });
        response.setHeader("content-type", "application/json").end(JSON.stringify(found));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answer: (next) => (how = next),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
