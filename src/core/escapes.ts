/** Named character references for ASCII signs, and what HTML drops in an address: html.spec.whatwg.org, "Named character references". */
const named: Readonly<Record<string, string>> = {
  amp: "&",
  apos: "'",
  ast: "*",
  bsol: "\\",
  colon: ":",
  comma: ",",
  commat: "@",
  dollar: "$",
  equals: "=",
  excl: "!",
  gt: ">",
  hyphen: "-",
  lowbar: "_",
  lpar: "(",
  lt: "<",
  nbsp: " ",
  num: "#",
  percnt: "%",
  period: ".",
  plus: "+",
  quest: "?",
  quot: '"',
  rpar: ")",
  semi: ";",
  sol: "/",
  Tab: "",
  NewLine: "",
};

const escapes =
  /\\u\{([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|&#x([0-9a-f]{1,6});?|&#(\d{1,7});?|&([a-z]{2,7});|\\\//gi;

/**
 * A text as it is read by what knows escapes: those of JSON and JavaScript (`\u0067`, `\x67`, `\/`) and HTML's character references
 * (`&#58;`, `&colon;`). Once, not again and again.
 */
export function unescaped(text: string): string {
  if (!/[\\&]/.test(text)) return text;
  return text.replaceAll(escapes, (written, braced, four, two, hex, decimal, name) => {
    if (written === "\\/") return "/";
    if (typeof name === "string") return Object.hasOwn(named, name) ? (named[name] ?? written) : written;
    const digits = [braced, four, two, hex].find((given) => typeof given === "string") as string | undefined;
    const code = digits === undefined ? Number(decimal) : Number.parseInt(digits, 16);
    // Tabs and line breaks vanish in an address; half a character is put together with its other half.
    return code > 0x10_ff_ff ? written : /[\t\n\r]/.test(String.fromCodePoint(code)) ? "" : String.fromCodePoint(code);
  });
}
