// Tokens as a reader can see them: spaces, breaks and what is invisible get a sign; hostile text is only ever text.

const INVISIBLE =
  // eslint-disable-next-line no-misleading-character-class
  /[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}\u{e0100}-\u{e01ef}]/gu;
// eslint-disable-next-line no-control-regex
const UNSHOWABLE = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]|\p{Surrogate}/gu;
const NAMES: Record<string, string> = {
  "\u00ad": "SHY",
  "\u200b": "ZWSP",
  "\u200e": "LRM",
  "\u200f": "RLM",
  "\u202a": "LRE",
  "\u202b": "RLE",
  "\u202c": "PDF",
  "\u202d": "LRO",
  "\u202e": "RLO",
  "\u2060": "WJ",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
  "\ufeff": "BOM",
};

/** Text in which nothing is invisible and nothing reorders what is around it: ⟨RLO⟩, ⟨ZWSP⟩. */
export function spelled(text: string): string {
  return text.replace(UNSHOWABLE, "\ufffd").replace(INVISIBLE, (char) => `⟨${NAMES[char] ?? code(char)}⟩`);
}

/** A token on one line: · for a space, ↵ ⇥ for breaks, … where it is longer than `most` characters. */
export function label(token: string, most = 24): string {
  if (token === "") return "◌";
  const line = spelled(token)
    .replace(/\r\n|\n/g, "↵")
    .replace(/\r/g, "␍")
    .replace(/\t/g, "⇥")
    .replace(/ /g, "·");
  const chars = Array.from(line);
  return chars.length <= most ? line : chars.slice(0, most - 1).join("") + "…";
}

/** A token as the lines it is on in running text; every line but the last ends in the sign of its break. */
export function running(token: string): string[] {
  const lines = spelled(token || "◌").split(/\r\n|\r|\n/);
  return lines.map((line, i) => (i < lines.length - 1 ? `${line}↵` : line));
}

/** Where code point `offset` of a text is in UTF-16, for all offsets at once. */
export function utf16Offsets(text: string, offsets: number[]): number[] {
  const wanted = [...offsets].sort((a, b) => a - b);
  const found = new Map<number, number>();
  let unit = 0;
  let point = 0;
  for (const offset of wanted) {
    while (point < offset && unit < text.length) {
      unit += text.codePointAt(unit)! > 0xffff ? 2 : 1;
      point++;
    }
    found.set(offset, unit);
  }
  return offsets.map((offset) => found.get(offset)!);
}

/** Positions of the tokens that hold `query`, and of those in which a longer match begins. */
export function find(tokens: string[], query: string): number[] {
  if (!query) return [];
  const wanted = query.toLowerCase();
  const starts: number[] = [];
  let text = "";
  for (const token of tokens) {
    starts.push(text.length);
    text += token.toLowerCase();
  }
  const hits = new Set<number>();
  let token = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    while (token + 1 < starts.length && starts[token + 1] <= at) token++;
    hits.add(token);
  }
  return [...hits];
}

/** With a capital at its beginning. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** 12,345 with narrow spaces left to the reader's eye: digits in groups of three. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

function code(char: string): string {
  const point = char.codePointAt(0)!;
  return point >= 0xe0020 && point <= 0xe007e
    ? `tag ${String.fromCharCode(point - 0xe0000)}`
    : `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
}
