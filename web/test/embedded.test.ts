// What the page recomputes, against heed's own numbers (tests/viewer_numbers.py).

import { describe, expect, test } from "vitest";
import { embedded } from "../src/embedded";
import { MEAN } from "../src/scene";
import { dataOf, sceneOf, type Case } from "./scenes";
import numbers from "./numbers.json";

const signal = new AbortController().signal;
const RELATIVE = { factors: 4e-5, weights: 1.2e-3 };

function close(found: Float32Array, wanted: (number | null)[], relative: number): void {
  expect(found.length).toBe(wanted.length);
  wanted.forEach((value, i) => {
    if (value === null) expect(found[i]).toBeNaN();
    else expect(Math.abs(found[i] - value)).toBeLessThanOrEqual(relative * value + 2e-9);
  });
}

function sourceOf(one: Case, form: "factors" | "weights") {
  const scene = sceneOf(one);
  return { scene, source: embedded(scene, dataOf(one[form])) };
}

describe.each(numbers.cases)("$name", (one) => {
  describe.each(["factors", "weights"] as const)("from %s", (form) => {
    const { scene, source } = sourceOf(one, form);
    const heads = [...scene.heads, MEAN].map((head, place) => ({ head, place }));
    const tile = { layer: 3, row: 0, col: 0, exact: true };

    test.each(heads)("the map of head $head", async ({ head, place }) => {
      const answer = await source.tile({ ...tile, head, level: 0, aggregate: "max", sinks: "keep" }, signal);
      expect(answer.rowsRead).toBe(one.rows);
      const rows = one.shown.flatMap((row) => [...answer.values.subarray(row * one.keys, (row + 1) * one.keys)]);
      close(Float32Array.from(rows), one.map[place], RELATIVE[form]);
    });

    test.each(heads)("coarse cells of head $head", async ({ head, place }) => {
      const ask = { ...tile, head, level: numbers.level };
      close(
        (await source.tile({ ...ask, aggregate: "max", sinks: "keep" }, signal)).values,
        one.max[place],
        RELATIVE[form],
      );
      close(
        (await source.tile({ ...ask, aggregate: "mean", sinks: "keep" }, signal)).values,
        one.mean[place],
        RELATIVE[form],
      );
      close(
        (await source.tile({ ...ask, aggregate: "max", sinks: "drop" }, signal)).values,
        one.dropped[place],
        RELATIVE[form],
      );
    });

    test.each(heads)("rows and columns of head $head", async ({ head, place }) => {
      const row = await source.row({ layer: 3, head, start: 0, end: Math.min(3, one.rows) }, signal);
      const column = await source.column({ layer: 3, head, start: 0, end: Math.min(3, one.rows) }, signal);
      close(row.values, one.row[place], RELATIVE[form]);
      close(column.values, one.column[place], RELATIVE[form]);
    });
  });
});

test("a thumbnail has the largest weights of its blocks, without sinks", async () => {
  const one = numbers.cases[0];
  const { source } = sourceOf(one, "factors");
  const { values } = await source.thumbnail({ layer: 3, head: 5 }, signal);
  expect(values).toHaveLength(48 * 48);
  const map = (
    await source.tile(
      { layer: 3, head: 5, level: 0, row: 0, col: 0, aggregate: "max", sinks: "drop", exact: true },
      signal,
    )
  ).values;
  const last = map.subarray(62 * 63 + 61, 62 * 63 + 63); // the last block: row 62 (61.69 → 61) to 62
  expect(values[48 * 48 - 1]).toBeGreaterThanOrEqual(Math.max(...last));
  expect(values[0]).toBeNaN();
});

test("a question nobody waits for is not answered", async () => {
  const { source } = sourceOf(numbers.cases[0], "factors");
  const asked = new AbortController();
  asked.abort();
  await expect(source.row({ layer: 3, head: 5, start: 0, end: 1 }, asked.signal)).rejects.toThrow("abort");
});

test("a page without one of its layers says so", () => {
  const scene = sceneOf(numbers.cases[0], { layers: [3, 4] });
  expect(() => embedded(scene, dataOf(numbers.cases[0].factors))).toThrow("Expected the attention of layers 4");
});
