/** HTML that is safe by construction: whatever a template is given is escaped, unless it is markup itself. */
export type Markup = { readonly raw: string };

export function markup(parts: TemplateStringsArray, ...values: readonly (string | Markup)[]): Markup {
  const text = parts.flatMap((part, place) => {
    const value = values[place];
    return value === undefined ? [part] : [part, typeof value === "string" ? escapeText(value) : value.raw];
  });
  return { raw: text.join("") };
}

export function join(pieces: readonly Markup[]): Markup {
  return { raw: pieces.map(({ raw }) => raw).join("\n") };
}

export function rows(cells: readonly (readonly (string | Markup)[])[]): Markup {
  return join(
    cells.map(
      (row) =>
        markup`<tr>
          ${join(row.map((cell) => markup`<td>${cell}</td>`))}
        </tr>`,
    ),
  );
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Text for elements and quoted attributes. Characters that show nothing, or turn what is around them (bidirectional ones above all), are
 * written out as `\u{…}`, so that a page cannot be made to read as something else; line ends and tabs stay.
 */
export function escapeText(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => entities[character] ?? "")
    .replaceAll(
      /(?![\n\t ])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu,
      (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
    );
}
