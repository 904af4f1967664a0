import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { dataClassesIn, ownDataClasses, redacted, withoutDataClasses } from "../../src/policy/data-classes.ts";

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const jwt = `${part({ alg: "HS256" })}.${part({ sub: "ada", roles: "r".repeat(5_000) })}.${"s1G-".repeat(11)}`;

describe("finds", () => {
  it.each([
    ["email", "write to ada.lovelace+x@shop.example.org today"],
    ["phone", "call +44 20 7946 0958 now"],
    ["iban", "to DE89 3704 0044 0532 0130 00 please"],
    ["iban", "to GB29NWBK60161331926819."],
    ["iban", "to de89370400440532013000"],
    ["iban", "to DE89-3704-0044-0532-0130-00 please"],
    ["iban", "to DE89\u00A03704\u00A00044\u00A00532\u00A00130\u00A000"],
    ["iban", "room ab12 then is fine, and GB12 then is not DE89 3704 0044 0532 0130 00"],
    ["card", "4111 1111 1111 1111, valid"],
    ["card", "5500-0000-0000-0004"],
    ["card", "4111\u00A01111\u00A01111\u00A01111"],
    ["card", "4111\u20131111\u20131111\u20131111"],
    ["card", "4111\u200B1111\u200B1111\u200B1111"],
    ["card", "\uFF14\uFF11\uFF11\uFF11 1111 1111 1111"],
    ["phone", "call +44\u00A020\u00A07946\u00A00958"],
    ["email", "ada@sh\u00ADop.example.org"],
    ["secret", "A\u200BKIAIOSFODNN7EXAMPLE"],
    ["national_id", "SSN 219-09-9999"],
    ["national_id", "DNI 12345678Z"],
    ["national_id", "NIE X1234567L"],
    ["national_id", "codice fiscale RSSMRA85T10A562S"],
    ["national_id", "CPF 529.982.247-25"],
    ["national_id", "NI number AB 12 34 56 C"],
    ["secret", "-----BEGIN RSA PRIVATE KEY-----"],
    ["secret", "AKIAIOSFODNN7EXAMPLE"],
    ["secret", `token ghp_${"a1B2".repeat(9)}`],
    ["secret", `github_${"pat_"}11ABCDEFG0${"a1B2".repeat(18)}`],
    ["secret", `xox${"b-"}123456789012-abcdefABCDEF`],
    ["secret", `AI${"za"}${"Sy-a1".repeat(7)}`],
    ["secret", `s${"k-"}ant-${"a1B2".repeat(8)}`],
    ["secret", `[r${"k_live_"}${"a1B2".repeat(6)}]`],
    ["secret", "password: hunter2-Hunter"],
  ])("%s in %j", (name, text) => expect(dataClassesIn(text)).toContain(name));
});

it.each([
  ["by itself", jwt],
  ["behind a word", `Bearer:${jwt}`],
  ["as a part of another", `x-${jwt}-y`],
])("finds a signed token %s, however long what it claims is", (_where, text) => {
  expect(dataClassesIn(text)).toEqual(["secret"]);
});

describe("finds nothing in near misses", () => {
  it.each([
    ["an account number with a wrong check digit", "DE88370400440532013000"],
    ["a card number with a wrong digit", "4111 1111 1111 1112"],
    ["an order number", "order 1234567890123"],
    ["a date and a time", "2024-05-15 10:00, 1999-12-31"],
    ["a DNI with the wrong letter", "12345678A"],
    ["a number that is never given out", "000-12-3456"],
    ["a word about passwords", "the password: forgotten"],
    ["an account number of no country", "ZZ89370400440532013000"],
    ["an Italian id with the wrong letter", "RSSMRA85T10A562T"],
    ["a NIE with the wrong letter", "X1234567A"],
    ["a token without a signature", jwt.slice(0, jwt.lastIndexOf("."))],
    ["a handle", "@ada, ada@home"],
  ])("%s", (_what, text) => expect(dataClassesIn(text)).toEqual([]));
});

it("text that is all near misses ends, and is not given the benefit of the doubt", () => {
  expect(dataClassesIn("4111 1111 1111 1112, ".repeat(40_000))).toContain("card");
  expect(dataClassesIn("a".repeat(1_000_000))).toEqual([]);
  expect(dataClassesIn(`${"1".repeat(1_000_000)}`)).toEqual([]);
});

it.each([0, 1, 2, 3])("all of a text of many millions of characters is read, also %i quarters into it", (quarters) => {
  const rest = "and so on ".repeat(200_000);
  const texts = Array.from({ length: 4 }, () => rest).toSpliced(quarters, 0, " 4111 1111 1111 1111 ");
  expect(dataClassesIn(texts.join(""))).toEqual(["card"]);
});

// No piece is a class by itself; the time limit of a test is what a number of steps that grows with the square would break.
it.each([
  "-eyJ",
  "-eyJaaaaaaaa",
  ".eyJaaaaaaaa",
  "eyJaaaaaaaa.eyJaaaaaaaa",
  "a.",
  "a-",
  "+1 ",
  "AIza-",
  "de00 aaaa ",
  "-----BEGIN A ",
  "-----BEGIN PRIVATE KEY-----",
  "password:hunter2-Hunter",
])("a text that repeats %j comes to an end", (piece) => {
  const text = piece.repeat(2_000_000 / piece.length);
  const found = dataClassesIn(text);
  expect(found).toBeInstanceOf(Array);
  // Of as many candidates as these, nobody says where.
  const without = withoutDataClasses(text, ownDataClasses);
  expect(without === undefined || dataClassesIn(without).length === 0).toBe(true);
});

it("a word without an end is not looked at again and again", () => {
  const long = "-eyJ".repeat(2_000_000);
  expect(dataClassesIn(`eyJaaaaaaaa.eyJ${long}`)).toEqual([]);
  expect(dataClassesIn(`${long}.eyJaaaaaaaa.${"s".repeat(16)}`)).toEqual(["secret"]);
});

describe("takes out", () => {
  const pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----";
  it.each<[string, string, string]>([
    ["an address", "to ada@shop.example, today", "to [redacted], today"],
    ["a number with gaps", "pay 4111 1111 1111 1111 now", "pay [redacted] now"],
    ["an account, and not the words behind it", "to DE89 3704 0044 0532 0130 00 by noon", "to [redacted] by noon"],
    ["each of several", "219-09-9999 and +44 20 7946 0958.", "[redacted] and [redacted]."],
    ["a key to its end", `a ${pem} b`, "a [redacted] b"],
    ["a key without an end, and all that may be of it", `a ${pem.slice(0, 40)} b`, "a [redacted]"],
    ["two keys, and not what is between", `${pem} or ${pem}`, "[redacted] or [redacted]"],
    ["all of a signed token", `Bearer ${jwt} it is`, "Bearer [redacted] it is"],
    ["a token that is longer than what tells it", `(s${"k-"}${"a1B2".repeat(100)})`, "([redacted])"],
    ["a password, and not what says that it is one", '{"password": "hunter2-Hunter"}', '{"password": "[redacted]"}'],
    ["what is within another", `secret=ada@shop.example;X1`, "secret=[redacted]"],
    ["nothing where there is nothing", "room 12, 4111", "room 12, 4111"],
  ])("%s", (_what, text, expected) => expect(withoutDataClasses(text, ownDataClasses)).toBe(expected));

  it("only the classes that are asked for", () => {
    expect(withoutDataClasses("ada@shop.example, 219-09-9999", ["email"])).toBe("[redacted], 219-09-9999");
  });

  it("nothing that only another detector finds, and nothing of what is too much to look at", () => {
    expect(withoutDataClasses("Ada", ["person"])).toBeUndefined();
    expect(withoutDataClasses("4111 1111 1111 1112, ".repeat(2_000), ["card"])).toBeUndefined();
  });

  it("all that its detectors find, whatever stands next to it", () => {
    const values = [
      ...["ada@shop.example", "+44 20 7946 0958", "DE89370400440532013000", "4111 1111 1111 1111", "219-09-9999"],
      ...["12345678Z", "AKIAIOSFODNN7EXAMPLE", jwt.slice(0, 60) + jwt.slice(-200), "password: hunter2-Hunter", pem],
      ...[
        `ghp_${"a1B2".repeat(9)}`,
        "X1234567L",
        "529.982.247-25",
        "eyJaaaaaaaa.",
        "eyJaaaaaaaa",
        "secret=",
        "@b.example",
      ],
    ];
    const between = ["", " ", "\n", ".", "-", "+", "1", "a", '"', "=", ":", redacted];
    const texts = fc.array(fc.oneof(fc.constantFrom(...values), fc.constantFrom(...between)), { maxLength: 12 });
    const asked = fc.subarray([...ownDataClasses], { minLength: 1 });
    fc.assert(
      fc.property(texts, asked, (pieces, classes) => {
        const text = pieces.join("");
        const made = withoutDataClasses(text, classes);
        expect(made).toBeDefined();
        expect(dataClassesIn(made ?? "").filter((name) => classes.includes(name))).toEqual([]);
        const isFound = dataClassesIn(text).some((name) => classes.includes(name));
        expect(made === text).toBe(!isFound);
      }),
      { numRuns: 2_000 },
    );
  });
});
