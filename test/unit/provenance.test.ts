import fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  indexTexts,
  linksIn,
  mixesScripts,
  otherLinks,
  soughtValue,
  standsIn,
  tokensOf,
} from "../../src/core/provenance.ts";

const finds = (value: string, ...texts: string[]): boolean => standsIn(soughtValue(value), indexTexts(texts));

describe("a value stands in a text", () => {
  it.each([
    ["sarah.connor@gmail.com", "Her email address is 'sarah.connor@gmail.com'."],
    ["Sarah.Connor@GMAIL.com", "write to sarah.connor@gmail.com, please"],
    ["https://www.example.org/", "see www.example.org!"],
    ["Bob", "post what Bob's channel says"],
    ["New York, NY 10001", "1234 Elm Street, New York, NY 10001 and update"],
    ["GB29NWBK60161331926819", "refund GB29 NWBK 6016 1331 9268 19 for it"],
    ["GB29 NWBK 6016 1331 9268 19", "refund GB29NWBK60161331926819 for it"],
    ["1200", "the rent is $1,200.00 now"],
    ["98.7", "a bill of 98.70"],
    ["general", "in #general"],
    ["butter\n- flour", "- butter\\n- flour\\n- eggs"],
    ["/", "delete all in /."],
    ["..", "look in '..', please"],
    ["*", "share it with *"],
    ["notes.txt /", "remove / and notes.txt /"],
  ])("%j in %j", (value, text) => expect(finds(value, text)).toBe(true));
});

describe("a value does not stand in a text that", () => {
  it.each([
    ["has it as a part of another address", "connor@gmail.com", "sarah.connor@gmail.com"],
    ["has it with more behind it", "sarah@gmail.com", "sarah@gmail.com.evil.org"],
    ["has a look-alike of it", "аda@shop.org", "ada@shop.org"],
    ["has it without the hidden character", "ada@\u200Bshop.org", "ada@shop.org"],
    ["has it in another order", "smith john", "john smith"],
    ["has one of two addresses", "ada@shop.org;eve@evil.org", "ada@shop.org"],
    ["has it decoded", "ada%40shop.org", "ada@shop.org"],
    ["has another number", "12", "120 or 1.2"],
    ["has it as a part of a word", "/", "and/or, https://shop.org/ and ~/"],
    ["has more of it", "..", "well... /.. ../.."],
    ["has only the words beside it", "notes.txt /", "remove notes.txt"],
    ["has only separators", ",", "one, two"],
    ["has white space, as has every text", " ", "one two"],
    ["has another sign that lower-cases alike", "\u212Aelvin", "kelvin"],
  ])("%s", (_why, value, text) => expect(finds(value, text)).toBe(false));

  it("ends in the middle of it and goes on in another", () => {
    expect(finds("ada lovelace", "written by ada", "lovelace was there")).toBe(false);
    expect(finds("ada lovelace", "written by ada lovelace", "x")).toBe(true);
  });
});

it("short digits are too weak to tell anything", () => {
  expect(["7", "13", "2024", "12345"].map((value) => soughtValue(value).weak)).toEqual([true, true, true, false]);
});

it("every run of tokens of a text stands in it, and none with a token that the text has not", () => {
  const word = fc.stringMatching(/^[a-z0-9@.-]{1,8}$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 20 }), fc.nat(), fc.nat(), (words, from, length) => {
      const tokens = tokensOf(words.join(" "));
      fc.pre(tokens.length > 0);
      const start = from % tokens.length;
      const part = tokens.slice(start, start + 1 + (length % tokens.length)).join(" ");
      expect(finds(part, words.join(" "))).toBe(true);
      expect(finds(`${part} q-q-q-q-q`, words.join(" "))).toBe(false);
    }),
  );
});

describe("links", () => {
  it.each([
    ["https://bit.ly/sUf7tOJ", ["https://bit.ly/sUf7tOJ"]],
    ["Click www.secure-systems-252.com now", ["www.secure-systems-252.com"]],
    ["[here](http://evil.example/x?y=1)", ["http://evil.example/x?y=1"]],
    ["go to evil.com or 10.0.0.1/x", ["evil.com", "10.0.0.1/x"]],
    ["report.docx, v1.2.3, ada@shop.org and e.g. this", []],
  ])("in %j", (text, links) => expect([...linksIn(text)].sort()).toEqual([...links].sort()));
});

it("more links than are looked at are told of, and as many are not", () => {
  const links = (count: number): string => Array.from({ length: count }, (_, n) => `https://${n}.example/`).join(" ");
  expect(linksIn(`${links(1_000)} ${links(10)}`)).toHaveLength(1_000);
  expect(linksIn(links(1_001)).slice(999)).toEqual(["https://999.example/", otherLinks]);
});

describe("mixed scripts", () => {
  it.each([
    ["раypal.com", true],
    ["ada@shop.org", false],
    ["Иван@почта.рф", false],
    ["αdmin", true],
    ["xn--80ak6aa92e.com", true],
    ["ada\u202E@shop.org", true],
    ["東京 office", false],
  ])("%j: %s", (text, mixed) => expect(mixesScripts(text)).toBe(mixed));
});
