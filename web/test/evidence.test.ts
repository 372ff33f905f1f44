import { expect, test } from "vitest";
import { percent, pieces } from "../src/evidence";

const passage = (text: string, marks: [number, number, number][]) => ({
  label: "",
  text,
  marks_name: "",
  marks: marks.map(([start, end, weight]) => ({ start, end, weight })),
});

test("pieces joined are the text; offsets count code points", () => {
  const found = pieces(passage("😀 obey me 😀", [[2, 6, 0.5]]));
  expect(found.map((piece) => piece.text)).toEqual(["😀 ", "obey", " me 😀"]);
  expect(found.map((piece) => piece.mark)).toEqual([null, 0, null]);
});

test("where marks overlap, the heaviest is drawn", () => {
  const found = pieces(
    passage("abcdef", [
      [0, 4, 0.1],
      [2, 6, 0.4],
    ]),
  );
  expect(found.map((piece) => [piece.text, piece.mark])).toEqual([
    ["ab", 0],
    ["cdef", 1],
  ]);
});

test("marks beyond the text are clipped", () => {
  expect(pieces(passage("ab", [[1, 99, 0.4]])).map((piece) => piece.text)).toEqual(["a", "b"]);
  expect(pieces(passage("", []))).toEqual([]);
});

test("shares", () => expect([0, 0.0004, 0.041, 0.62].map(percent)).toEqual(["0 %", "<0.1 %", "4.1 %", "62 %"]));
