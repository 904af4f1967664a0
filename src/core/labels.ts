export const origins = ["user", "operator", "trusted", "derived", "untrusted"] as const;
/**
 * Where a value came from, from the best to the worst. `user`: it stands in what the user wrote. `operator`: in the release's prompt, or in
 * the facts about the subject that the caller vouches for. `trusted`: a tool whose results nobody else can write returned it. `derived`: it
 * stands nowhere; the model made it. `untrusted`: it stands only in text that somebody else can write.
 */
export type Origin = (typeof origins)[number];

export const confidentialities = ["public", "internal", "confidential", "restricted"] as const;
/** How far contents may travel. Policies see the place in this list, from 0. */
export type Confidentiality = (typeof confidentialities)[number];

/** Whose text a tool's results carry. */
export type ResultLabels = {
  readonly origin: "trusted" | "untrusted";
  readonly confidentiality: Confidentiality;
};

/** Whose text a tool's results carry, and what in them is nobody's text. */
export type ToolResultLabels = ResultLabels & {
  /**
   * Places in an untrusted result where the system itself keeps a name: an account, a user, a channel, an id. One word there is `trusted`,
   * unless it is a link, or other people's text has it too; anything else stays text. Absent: none.
   */
  readonly identifiers?: readonly IdentifierPlace[];
};

/** A place in a result: names of properties with dots between, `*` for each item of a list: `*.sender`. */
export type IdentifierPlace =
  | string
  /**
   * Names there are `trusted` only where the values at other places are these, each a property of an object on the way to every place in
   * `at`. Elsewhere they are strangers' names: untrusted, but no text that could speak against another.
   */
  | { readonly at: readonly string[]; readonly where: Readonly<Record<string, string | number | boolean>> };

/** A tool that says nothing of its results may return anybody's text. */
export const defaultResultLabels: ResultLabels = { origin: "untrusted", confidentiality: "internal" };

export const dataClasses = ["email", "phone", "iban", "card", "national_id", "person", "secret"] as const;
/**
 * A kind of personal or secret data that a detector finds in contents, by checksum where the kind has one. `person`, a person's name, only
 * another detector finds.
 */
export type DataClass = (typeof dataClasses)[number];

/** How far a value may travel: of all the texts in which it was found. */
export type ValueLabels = {
  /** The highest, as its place in {@link confidentialities}. */
  readonly confidentiality: number;
  /** Names of the tools and sources that the texts came from, sorted. */
  readonly sources: readonly string[];
};

/** Labels of a call's values: of each argument, of those that say where something goes, and of all. */
export type CallLabels = {
  readonly arguments: Readonly<Record<string, ValueLabels>>;
  readonly destination: ValueLabels;
  readonly content: ValueLabels;
};

/**
 * What is known of where a call's values came from, and of what the run has read so far. Worked out from the record alone, so an auditor
 * finds the same. Names of arguments and tools, never contents.
 */
export type FlowFacts = {
  /** For each argument of the call, the worst origin of the values in it. */
  readonly origins: Readonly<Record<string, Origin>>;
  /** The worst origin of the arguments that say where something goes; `none` where the call has no such argument. */
  readonly destination: Origin | "none";
  /** A destination came from a trusted tool's result, and untrusted text names it too. */
  readonly contested: boolean;
  /** A destination mixes scripts within a word, or hides characters, as look-alikes do. */
  readonly mixedScript: boolean;
  /** The best origin of any value in the call; `none` where it has no values. */
  readonly best: Origin | "none";
  /**
   * The worst origin of any value in the call that says something, `none` where it has no such value. One that the model made of the user's
   * words is the user's here. Absent in decisions by the first three {@link FlowRules}.
   */
  readonly worst?: Origin | "none";
  /** How many different links in the arguments were given neither by the user, nor the operator, nor a trusted tool. */
  readonly ungroundedLinks: number;
  /** Found in the arguments, sorted. */
  readonly dataClasses: readonly DataClass[];
  /**
   * Absent in decisions from before there were any, which were made by the first {@link FlowRules}: no value is then better than all that
   * was seen.
   */
  readonly labels?: CallLabels;
  /** By which {@link FlowRules}, from the third on. */
  readonly rules?: 3 | 4;
  /** Of all that the run has read before this step. */
  readonly seen: {
    readonly untrusted: boolean;
    /** The highest so far, as its place in {@link confidentialities}. */
    readonly confidentiality: number;
    /** Names of the tools whose results were read, sorted. */
    readonly sources: readonly string[];
    /** Found in the user's text and in results, sorted. */
    readonly dataClasses: readonly DataClass[];
  };
};

/**
 * How flow facts are found, and how it is decided by them. By the first rules, names of properties and values of punctuation alone came from nobody who could attack,
 * and a thousand links hid the rest; by the first two, a text that repeats words of the user's spoke for no call; by the first three, an
 * identifier was trusted although text has it too, signs at the ends of a name were no part of it, and links and data could be written in ways
 * that only a browser or a person reads; no obligation was met by a model call or an answer, a default behind a reference was not seen, and
 * arguments could be as many as there were. Decisions that were made by them are still audited by them, and none is made by them.
 */
export type FlowRules = 1 | 2 | 3 | 4;
export const flowRules: FlowRules = 4;

/** By which rules recorded facts were found. */
export function rulesOf({ labels, rules }: FlowFacts): FlowRules {
  return labels === undefined ? 1 : (rules ?? 2);
}

/** Labels of something that was made of all that was read. */
export function labelsOfAll({ confidentiality, sources }: FlowFacts["seen"]): ValueLabels {
  return { confidentiality, sources };
}

/** Labels of what is made of several. */
export function joinLabels(labels: readonly ValueLabels[]): ValueLabels {
  return {
    confidentiality: labels.reduce((highest, one) => Math.max(highest, one.confidentiality), 0),
    sources: [...new Set(labels.flatMap(({ sources }) => sources))].sort(),
  };
}
