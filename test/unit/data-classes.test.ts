import { describe, expect, it } from "vitest";

import { dataClassesIn } from "../../src/policy/data-classes.ts";

describe("finds", () => {
  it.each([
    ["email", "write to ada.lovelace+x@shop.example.org today"],
    ["phone", "call +44 20 7946 0958 now"],
    ["iban", "to DE89 3704 0044 0532 0130 00 please"],
    ["iban", "to GB29NWBK60161331926819."],
    ["card", "4111 1111 1111 1111, valid"],
    ["card", "5500-0000-0000-0004"],
    ["national_id", "SSN 219-09-9999"],
    ["national_id", "DNI 12345678Z"],
    ["national_id", "CPF 529.982.247-25"],
    ["national_id", "NI number AB 12 34 56 C"],
    ["secret", "-----BEGIN RSA PRIVATE KEY-----"],
    ["secret", "AKIAIOSFODNN7EXAMPLE"],
    ["secret", `token ghp_${"a1B2".repeat(9)}`],
    ["secret", "password: hunter2-Hunter"],
  ])("%s in %j", (name, text) => expect(dataClassesIn(text)).toContain(name));
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
    ["a handle", "@ada, ada@home"],
  ])("%s", (_what, text) => expect(dataClassesIn(text)).toEqual([]));
});

it("text that is all near misses ends, and is not given the benefit of the doubt", () => {
  expect(dataClassesIn("4111 1111 1111 1112, ".repeat(40_000))).toContain("card");
  expect(dataClassesIn("a".repeat(1_000_000))).toEqual([]);
  expect(dataClassesIn(`${"1".repeat(1_000_000)}`)).toEqual([]);
});
