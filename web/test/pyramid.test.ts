import { expect, test } from "vitest";
import { blockOf, cellsOf, levelFor, levelsOf, parentOf, sizeAt, sizeOf, tilesIn } from "../src/pyramid";

const square = (count: number) => ({ rows: count, cols: count });

test.each([
  [1, 1],
  [63, 1],
  [256, 1],
  [257, 2],
  [1000, 3],
  [8192, 6],
  [32768, 8],
])("a map of %i tokens has %i levels", (count, levels) => expect(levelsOf(square(count))).toBe(levels));

test("the last level is one tile, the one before is more", () => {
  for (const count of [257, 1000, 4097]) {
    const map = { rows: 100, cols: count };
    const last = levelsOf(map) - 1;
    const all = { start: 0, end: count };
    expect(tilesIn(map, last, all, all)).toHaveLength(1);
    expect(tilesIn(map, last - 1, all, all).length).toBeGreaterThan(1);
  }
});

test("tiles of a level cover every cell once", () => {
  const map = { rows: 700, cols: 1100 };
  for (let level = 0; level < levelsOf(map); level++) {
    const size = sizeAt(map, level);
    const tiles = tilesIn(map, level, { start: 0, end: 700 }, { start: 0, end: 1100 });
    expect(tiles.reduce((sum, tile) => sum + sizeOf(map, tile).rows * sizeOf(map, tile).cols, 0)).toBe(
      size.rows * size.cols,
    );
  }
});

test("edge tiles are smaller", () => {
  expect(sizeOf({ rows: 300, cols: 100 }, { level: 0, row: 1, col: 0 })).toEqual({ rows: 44, cols: 100 });
  expect(cellsOf({ rows: 300, cols: 100 }, { level: 1, row: 0, col: 0 }).rows).toEqual({ start: 0, end: 150 });
});

test("a tile's parent covers it", () =>
  expect(parentOf({ level: 2, row: 5, col: 4 })).toEqual({ level: 3, row: 2, col: 2 }));

test("only tiles that are touched are wanted", () => {
  expect(tilesIn(square(1000), 0, { start: 256, end: 512 }, { start: 500, end: 520 })).toEqual([
    { level: 0, row: 1, col: 1 },
    { level: 0, row: 1, col: 2 },
  ]);
});

test.each([
  [4, 0],
  [1, 0],
  [0.5, 1],
  [0.3, 2],
  [0.01, 2],
])("at %d pixels an entry the level is %i", (pixels, level) => expect(levelFor(square(1000), pixels)).toBe(level));

test("blocks of a thumbnail cover everything once", () => {
  for (const total of [1, 47, 48, 63, 1000]) {
    const count = Math.min(48, total);
    const blocks = Array.from({ length: count }, (_, i) => blockOf(i, count, total));
    expect(blocks[0].start).toBe(0);
    expect(blocks.at(-1)!.end).toBe(total);
    blocks.forEach((block, i) => expect(block.end).toBe(blocks[i + 1]?.start ?? total));
  }
});
