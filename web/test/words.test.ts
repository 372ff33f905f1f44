import { expect, test } from "vitest";
import { find, label, running, spelled, utf16Offsets } from "../src/words";

test("nothing stays invisible, nothing reorders", () => {
  expect(spelled("a\u202eb\u200b\u{e0041}\u2066")).toBe("a⟨RLO⟩b⟨ZWSP⟩⟨tag A⟩⟨LRI⟩");
  expect(spelled("\u0000\ud800\u001b[31m")).toBe("\ufffd\ufffd\ufffd[31m");
  expect(spelled("سلام 👩‍👩‍👧 é\t\n")).toBe("سلام 👩‍👩‍👧 é\t\n");
});

test("labels are one line", () => {
  expect(label(" the\n\t")).toBe("·the↵⇥");
  expect(label("")).toBe("◌");
  expect(label("👩".repeat(30), 5)).toBe("👩👩👩👩…");
});

test("running text keeps its breaks", () => {
  expect(running(".\n\n  ")).toEqual([".↵", "↵", "  "]);
  expect(running("\r\n")).toEqual(["↵", ""]);
  expect(running("")).toEqual(["◌"]);
});

test("offsets in code points become offsets in UTF-16", () => {
  expect(utf16Offsets("a😀b😀", [4, 0, 2, 3, 9])).toEqual([6, 0, 3, 4, 6]);
});

test("search finds words across tokens, in any case", () => {
  const tokens = ["Ign", "ore", " all", "", " IGNORE"];
  expect(find(tokens, "ignore")).toEqual([0, 4]);
  expect(find(tokens, "all")).toEqual([2]);
  expect(find(tokens, "")).toEqual([]);
  expect(find(tokens, "zzz")).toEqual([]);
});
