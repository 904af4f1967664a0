import type { ServerResponse } from "node:http";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { detect, DetectorError, detectorOptionsOf } from "../../src/policy/index.ts";
import { startPresidio } from "../support/presidio.ts";
import type { PresidioServer } from "../support/presidio.ts";

let presidio: PresidioServer;

beforeAll(async () => {
  presidio = await startPresidio([
    { text: "Ada Lovelace", entity: "PERSON" },
    { text: "078-05-1120", entity: "US_SSN" },
    { text: "943 476 5919", entity: "UK_NHS" },
    { text: "12345678", entity: "US_BANK_NUMBER" },
    { text: "4111 1111 1111 1111", entity: "CREDIT_CARD" },
    { text: "London", entity: "LOCATION" },
    { text: "10.0.0.1", entity: "IP_ADDRESS" },
    { text: "Bob", entity: "PERSON", score: 0.2 },
  ]);
});
beforeEach(() => presidio.answer(undefined));
afterAll(() => presidio.close());

const optionsOf = (more: Record<string, string> = {}) => {
  const options = detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url, ...more });
  if (options === undefined) throw new Error("it is configured");
  return options;
};

describe("what the analyzer finds", () => {
  it.each<[string, readonly string[]]>([
    ["Ada Lovelace, 078-05-1120", ["national_id", "person"]],
    ["943 476 5919 and 12345678", ["iban", "national_id"]],
    ["4111 1111 1111 1111 in London", ["card"]],
    ["10.0.0.1", []],
    ["Bob", []],
    ["nothing of the kind", []],
  ])("is a class of data: %s", async (text, classes) => {
    expect(await detect(optionsOf(), text)).toMatchObject({ status: "found", classes });
    const { url, body } = presidio.asked.at(-1) ?? {};
    expect([url, body]).toEqual(["POST /analyze", { text, language: "en", score_threshold: 0.5 }]);
  });

  it("is where it says, in code points", async () => {
    const told = (findings: string) =>
      presidio.answer(
        (response) => void response.writeHead(200, { "content-type": "application/json" }).end(`[${findings}]`),
      );
    const places = [{ name: "person", start: 3, end: 6 }];
    told('{"entity_type":"PERSON","start":2,"end":5,"score":1},{"entity_type":"LOCATION","score":1}');
    expect(await detect(optionsOf(), "\u{1F600} Ada")).toEqual({ status: "found", classes: ["person"], places });
    // Of one it does not say where, or somewhere that is nowhere.
    for (const where of [
      "",
      '"start":2,"end":99,',
      '"start":3,"end":3,',
      '"start":2.5,"end":3,',
      '"start":-1,"end":3,',
    ])
      for (const text of ["\u{1F600} Ada", "to Ada"]) {
        told(`{"entity_type":"PERSON",${where}"score":1}`);
        expect(await detect(optionsOf(), text)).toEqual({ status: "found", classes: ["person"] });
      }
  });

  it("counts from the score and in the language that were set", async () => {
    const options = optionsOf({ COUNTERSIGN_PRESIDIO_MIN_SCORE: "0.1", COUNTERSIGN_PRESIDIO_LANGUAGE: "de" });
    expect(await detect(options, "Bob")).toMatchObject({ status: "found", classes: ["person"] });
    expect(presidio.asked.at(-1)?.body).toMatchObject({ language: "de", score_threshold: 0.1 });
  });

  it("is nothing in a text of nothing, which is not sent", async () => {
    const before = presidio.asked.length;
    expect(await detect(optionsOf(), " \n")).toEqual({ status: "found", classes: [] });
    expect(presidio.asked).toHaveLength(before);
  });
});

describe("what is no answer is a failure, which says nothing of the text", () => {
  const json =
    (text: string, status = 200) =>
    (response: ServerResponse) =>
      response.writeHead(status, { "content-type": "application/json" }).end(text);

  it.each<[string, (response: ServerResponse) => void, RegExp]>([
    ["an error", json('{"error":"No matching recognizers"}', 500), /status 500/],
    ["a redirect", (response) => response.writeHead(307, { location: presidio.url }).end(), /status 307/],
    ["no JSON", json("<html>"), /no JSON/],
    [
      "a web page",
      (response) => response.writeHead(200, { "content-type": "text/html" }).end("[]"),
      /application.json/,
    ],
    ["two scores", json('[{"entity_type":"PERSON","score":1,"score":0}]'), /two members/],
    ["no list", json('{"entities":[]}'), /no list of findings/],
    ["a list of something else", json('[{"type":"PERSON"}]'), /no list of findings/],
    ["a score that is none", json('[{"entity_type":"PERSON","score":"high"}]'), /no list of findings/],
    ["an endless answer", json(`[${" ".repeat(5 * 1024 * 1024)}]`), /too long/],
    ["silence", () => undefined, /did not answer in 200 ms/],
    ["a broken connection", (response) => response.destroy(), /cannot be reached/],
  ])("%s", async (_name, how, reason) => {
    presidio.answer(how);
    // Long for all but the one that there is no answer to: a busy machine is no finding.
    const timeoutMs = reason.source.includes("200 ms") ? "200" : "20000";
    const found = await detect(optionsOf({ COUNTERSIGN_PRESIDIO_TIMEOUT_MS: timeoutMs }), "Ada Lovelace");
    expect(found).toEqual({ status: "failed", reason: expect.stringMatching(reason) as string });
    expect(JSON.stringify(found)).not.toContain("Ada");
  });

  it("a text that is too long, and is not sent", async () => {
    const before = presidio.asked.length;
    expect(await detect(optionsOf(), "a".repeat(200_001))).toMatchObject({ status: "failed" });
    expect(presidio.asked).toHaveLength(before);
  });
});

describe("the configuration", () => {
  it("may be none, or have a path of its own", () => {
    expect(detectorOptionsOf({})).toBeUndefined();
    const { endpoint } = detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: "https://pii.example.com/presidio/" }) ?? {};
    expect(endpoint?.href).toBe("https://pii.example.com/presidio/analyze");
  });

  it.each<[string, Record<string, string>]>([
    ["no URL", { COUNTERSIGN_PRESIDIO_URL: "presidio" }],
    ["plain http elsewhere", { COUNTERSIGN_PRESIDIO_URL: "http://pii.example.com" }],
    ["a password", { COUNTERSIGN_PRESIDIO_URL: "https://me:secret@pii.example.com" }],
    ["a query", { COUNTERSIGN_PRESIDIO_URL: "https://pii.example.com?x=1" }],
    ["no time", { COUNTERSIGN_PRESIDIO_URL: "https://x.example", COUNTERSIGN_PRESIDIO_TIMEOUT_MS: "0" }],
    ["no language", { COUNTERSIGN_PRESIDIO_URL: "https://x.example", COUNTERSIGN_PRESIDIO_LANGUAGE: "English" }],
    ["no score", { COUNTERSIGN_PRESIDIO_URL: "https://x.example", COUNTERSIGN_PRESIDIO_MIN_SCORE: "2" }],
  ])("is refused with %s", (_name, env) => {
    expect(() => detectorOptionsOf(env)).toThrow(DetectorError);
  });
});
