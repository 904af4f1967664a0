import { EventSourceParserStream } from "eventsource-parser/stream";

/** The data of each server-sent event of `answer`. `onBytes` is told of everything that comes, comments included. */
export async function* readEvents(answer: Response, onBytes: () => void): AsyncGenerator<string, void> {
  if (answer.body === null) return;
  const seen = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      onBytes();
      controller.enqueue(chunk);
    },
  });
  const events = answer.body
    .pipeThrough(seen)
    .pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>)
    .pipeThrough(new EventSourceParserStream());
  for await (const event of events) yield event.data;
}
