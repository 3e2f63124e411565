/** JSON as Triton writes it: with NaN, Infinity, and integers that no JavaScript number holds. */

// A string, which stays as it is; or one of the values that JSON.parse refuses or rounds.
const TOKENS = /"(?:[^"\\]|\\.)*"|NaN|-?Infinity|(?<![\d.])-?\d{16,}(?![\d.eE])/g;

/** Parses JSON; what is no plain number comes as a string: "NaN", "9007199254740993". */
export function parse(text: string): unknown {
  return JSON.parse(text.replace(TOKENS, (token) => (token.startsWith('"') ? token : `"${token}"`)));
}

/** An object that was parsed, to be asked for its members. */
export type Document = Readonly<Record<string, unknown>>;

/** Whether a parsed value is an object. */
export function isDocument(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
