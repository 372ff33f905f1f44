// The tile pyramid as geometry: which cells and tiles a map of Q rows and T keys has at which level. Pure.

export const SIDE = 256;
export const THUMBNAIL = 48;

export type Size = { rows: number; cols: number };
export type TilePlace = { level: number; row: number; col: number };
/** A stretch of tokens or cells, [start, end). */
export type Stretch = { start: number; end: number };

/** Cells of a level: each stands for 2^level × 2^level entries. */
export function sizeAt(map: Size, level: number): Size {
  const side = 2 ** level;
  return { rows: Math.ceil(map.rows / side), cols: Math.ceil(map.cols / side) };
}

/** How many levels there are: on the last one the map is a single tile. */
export function levelsOf(map: Size): number {
  let level = 0;
  while (Math.max(...Object.values(sizeAt(map, level))) > SIDE) level++;
  return level + 1;
}

/** The cells of a level that a tile holds; edge tiles are smaller. */
export function cellsOf(map: Size, place: TilePlace): { rows: Stretch; cols: Stretch } {
  const size = sizeAt(map, place.level);
  return { rows: stretch(place.row, size.rows), cols: stretch(place.col, size.cols) };
}

export function sizeOf(map: Size, place: TilePlace): Size {
  const { rows, cols } = cellsOf(map, place);
  return { rows: rows.end - rows.start, cols: cols.end - cols.start };
}

export function thumbnailSize(map: Size): Size {
  return { rows: Math.min(THUMBNAIL, map.rows), cols: Math.min(THUMBNAIL, map.cols) };
}

/** The entries that block `index` of `count` covers among `total`. */
export function blockOf(index: number, count: number, total: number): Stretch {
  return { start: Math.floor((index * total) / count), end: Math.floor(((index + 1) * total) / count) };
}

/** The level whose cells are at least one device pixel wide, at `pixels` device pixels for one entry. */
export function levelFor(map: Size, pixels: number): number {
  const wanted = pixels >= 1 ? 0 : Math.ceil(-Math.log2(pixels) - 1e-9);
  return Math.min(wanted, levelsOf(map) - 1);
}

/** The tiles of a level that a rectangle of entries touches, row by row. */
export function tilesIn(map: Size, level: number, rows: Stretch, cols: Stretch): TilePlace[] {
  const step = SIDE * 2 ** level;
  const places: TilePlace[] = [];
  const last = {
    row: Math.ceil(Math.min(rows.end, map.rows) / step),
    col: Math.ceil(Math.min(cols.end, map.cols) / step),
  };
  for (let row = Math.floor(Math.max(0, rows.start) / step); row < last.row; row++)
    for (let col = Math.floor(Math.max(0, cols.start) / step); col < last.col; col++) places.push({ level, row, col });
  return places;
}

/** The tile one level up that covers this one. */
export function parentOf(place: TilePlace): TilePlace {
  return { level: place.level + 1, row: place.row >> 1, col: place.col >> 1 };
}

function stretch(index: number, count: number): Stretch {
  return { start: Math.min(count, SIDE * index), end: Math.min(count, SIDE * (index + 1)) };
}
