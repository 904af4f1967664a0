import { createParser } from "eventsource-parser";

import { malformed } from "./answer.schema.ts";
import { ProviderError } from "./errors.ts";

/**
 * The body as text, chunk by chunk. Throws `response_too_large` past `maxBytes` (counted after decompression), and
 * `truncated_response` where the connection breaks.
 */
async function* textChunks(response: Response, maxBytes: number): AsyncGenerator<string> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let received = 0;
  try {
    for await (const chunk of response.body) {
      received += chunk.byteLength;
      if (received > maxBytes)
        throw new ProviderError("response_too_large", `model server's answer exceeds ${maxBytes} bytes`);
      yield decoder.decode(chunk, { stream: true });
    }
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    throw new ProviderError("truncated_response", "connection to the model server broke within its answer");
  }
  yield decoder.decode();
}

/** The body as text. */
export async function readText(response: Response, maxBytes: number): Promise<string> {
  let text = "";
  for await (const chunk of textChunks(response, maxBytes)) text += chunk;
  return text;
}

/** The body as a JSON value. Throws `malformed_response` for anything else, such as a proxy's web page. */
export async function readJson(response: Response, maxBytes: number): Promise<unknown> {
  const text = await readText(response, maxBytes);
  try {
    return JSON.parse(text);
  } catch {
    throw malformed(
      `model server answered ${text.trimStart().startsWith("<") ? "a web page" : "something"} that is not JSON`,
    );
  }
}

/** The body's events (`text/event-stream`): the `data` of each. */
export async function* readEvents(response: Response, maxBytes: number): AsyncGenerator<string> {
  const events: string[] = [];
  const parser = createParser({ onEvent: (event) => void events.push(event.data) });
  for await (const chunk of textChunks(response, maxBytes)) {
    parser.feed(chunk);
    yield* events.splice(0);
  }
}
