import { expect, test } from "vitest";
import { clamped, entryAt, fit, labelled, NEAREST, reveal, visible, zoomed } from "../src/viewport";

const map = { rows: 1000, cols: 800 };
const plot = { width: 400, height: 400 };

test("zoom 0 shows the whole map", () => {
  const port = clamped({ x: 0, y: 0, zoom: 0 }, map, plot);
  expect(port).toEqual({ x: 0, y: 0, zoom: 0.4 });
  expect(visible(port, map, plot)).toEqual({ rows: { start: 0, end: 1000 }, cols: { start: 0, end: 800 } });
});

test("a small map is not blown up beyond the nearest zoom", () =>
  expect(fit({ rows: 1, cols: 1 }, plot)).toBe(NEAREST));

test("what is under the pointer stays there while zooming", () => {
  const before = { x: 100, y: 200, zoom: 2 };
  const after = zoomed(before, 1.7, 150, 90, map, plot);
  expect(after.x + 150 / after.zoom).toBeCloseTo(before.x + 150 / before.zoom, 9);
  expect(after.y + 90 / after.zoom).toBeCloseTo(before.y + 90 / before.zoom, 9);
});

test("a port stays on the map", () => {
  expect(clamped({ x: -50, y: 5000, zoom: 1 }, map, plot)).toEqual({ x: 0, y: 600, zoom: 1 });
});

test("entries under pixels", () => {
  const port = { x: 10.5, y: 0, zoom: 10 };
  expect(entryAt(port, 4, 9.9, map)).toEqual({ row: 0, col: 10 });
  expect(entryAt(port, 5, 10, map)).toEqual({ row: 1, col: 11 });
  expect(entryAt({ x: 790, y: 0, zoom: 10 }, 150, 0, map)).toBeNull();
  expect(entryAt(port, -1, 0, map)).toBeNull();
});

test("revealing moves only as far as needed", () => {
  const port = { x: 100, y: 100, zoom: 10 };
  expect(reveal(port, 110, 110, map, plot)).toEqual(port);
  expect(reveal(port, 145, 110, map, plot)).toEqual({ x: 100, y: 108, zoom: 10 });
});

test("labels keep their distance", () => {
  expect(labelled({ start: 3, end: 8 }, 12, 1)).toEqual([3, 4, 5, 6, 7]);
  expect(labelled({ start: 0, end: 1000 }, 0.4, 26)).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
});
