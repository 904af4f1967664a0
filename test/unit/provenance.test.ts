import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { linksIn, otherLinks } from "../../src/core/links.ts";
import {
  indexTexts,
  looksLikeAnother,
  mixesScripts,
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

describe("signs at a word's ends make another name of it", () => {
  it.each([
    ["_ada@shop.org", "write to ada@shop.org", false],
    ["ada_", "tell @ada", false],
    ["*@shop.org", "all of shop.org", false],
    ["*.shop.org", "all of shop.org", false],
    ["~/notes", "look in /notes", false],
    ["-5", "move it by 5", false],
    [".env", "the env", false],
    ["\\\\srv\\x", "srv\\x", false],
    ["ada\\n", "ada", false],
    ["ada_ and bob", "ada and bob", false],
    ["@ada", "tell ada.", true],
    ["ada.", "tell ada", true],
    ["_ada@shop.org", "write to **_ada@shop.org**!", true],
    ["ada_", "it is called `ada_`.", true],
    ["*@shop.org", "all of *@shop.org, please", true],
    ["-5", "by -5.", true],
    ["ada", "_ada_", true],
    ["~/notes", '{"text":"in\\n~/notes\\n"}', true],
  ])("%j in %j: %s", (value, text, found) => expect(finds(value, text)).toBe(found));
});

it.each(["-", "/", "_", "0", "."])("a long row of %j is read once, and not from each of its places", (sign) => {
  // Each of these took twenty seconds.
  const row = `1.${sign.repeat(100_000)}x ${sign.repeat(100_000)}1`;
  expect(indexTexts([row]).tokens.size).toBeGreaterThan(0);
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

describe("links as browsers and mail programs read them", () => {
  it.each([
    ["![x](//evil.zip?d=1)", ["https://evil.zip?d=1"]],
    ["https:\\\\evil.zip\\x", ["https://evil.zip/x"]],
    ["http:/evil.zip, HTTPS:evil.zip, ftp:evil.zip", ["http://evil.zip", "ftp://evil.zip"]],
    ["http://[2001:db8::1]/x", ["http://[2001:db8::1]/x"]],
    ["<a href='https&colon;//evil&period;zip'>", ["https://evil.zip"]],
    ["https&#58;&#x2f;&#47;ev&Tab;il&#46;zip", ["https://evil.zip"]],
    ['{"a":"https:\\u002f\\/evil.zip"}', ["https://evil.zip"]],
    ["[write](mailto:ada@shop.org)", ["ada@shop.org"]],
    ["<a href=javascript:go> data:text/html,hi file:///etc", ["javascript:go", "data:text/html,hi", "file:///etc"]],
    ["\\\\files.evil.zip\\share", ["https://files.evil.zip/share"]],
    ["https://shop.example/?a=1&amp;b=2", ["https://shop.example/?a=1&b=2"]],
    ["a // comment, C:\\x.y, either/or, 10:30, R&D; http: and data: too", []],
  ])("in %j", (text, links) => expect([...linksIn(text)].sort()).toEqual([...links].sort()));

  it("were not by the third rules", () => expect(linksIn("[x](//evil.zip) https&colon;//evil.zip", 3)).toEqual([]));
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

describe("looks like another", () => {
  it.each([
    ["раypal.com", true],
    ["\u{1D41A}da@shop.org", true],
    ["\uFF41da@shop.org", true],
    ["ada\u034F@shop.org", true],
    ["ada\u3164", true],
    ["ada\u2800", true],
    ["ada\u{E0061}", true],
    ["ada\uFE0F", true],
    ["ada@shop.org", false],
    ["Иван@почта.рф", false],
    ["\u2600\uFE0F plans", false],
    ["\uFF21\uFF22\uFF23 東京", false],
  ])("%j: %s", (text, looks) => expect(looksLikeAnother(text)).toBe(looks));
});
