// The source inside the page: every number is made here, in slices short enough that the page stays alive.

import { layerOf, type Data, type LayerWeights } from "./exact";
import { blockOf, cellsOf, sizeOf, thumbnailSize, type Size, type Stretch } from "./pyramid";
import { MEAN, type Aggregate, type Scene } from "./scene";
import type { Answer, HeadAsk, Source } from "./source";

const SLICE_MS = 12;

/** Answer from the data a page carries. Throws where a layer of the scene is missing. */
export function embedded(scene: Scene, data: Data): Source {
  const map: Size = { rows: scene.n_rows, cols: scene.n_keys };
  const missing = scene.layers.filter((layer) => !data.layers[layer]);
  if (missing.length)
    throw new Error(`Expected the attention of layers ${missing.join(", ")} in this page, found none.`);
  const layers = new Map<number, LayerWeights>();
  const sinks = new Set(scene.sinks ?? []);

  const reader = ({ layer, head }: HeadAsk, dropSinks: boolean): Reader => {
    let weights = layers.get(layer);
    if (!weights) layers.set(layer, (weights = layerOf(data.layers[layer], map)));
    const places = head === MEAN ? scene.heads.map((_, place) => place) : [scene.heads.indexOf(head)];
    return new Reader(weights, places, dropSinks ? sinks : new Set(), map.cols);
  };
  const answer = (values: Float32Array): Answer => ({ values, rowsRead: map.rows, rowsTotal: map.rows });

  return {
    name: "embedded",
    async tile(ask, signal) {
      const cells = cellsOf(map, ask);
      const read = reader(ask, ask.sinks === "drop");
      const side = 2 ** ask.level;
      const blocks = (cut: Stretch, total: number): Stretch[] =>
        Array.from({ length: cut.end - cut.start }, (_, i) => ({
          start: (cut.start + i) * side,
          end: Math.min(total, (cut.start + i + 1) * side),
        }));
      const size = sizeOf(map, ask);
      return answer(
        await aggregated(read, blocks(cells.rows, map.rows), blocks(cells.cols, map.cols), size, ask.aggregate, signal),
      );
    },
    async thumbnail(ask, signal) {
      const size = thumbnailSize(map);
      const rows = Array.from({ length: size.rows }, (_, i) => blockOf(i, size.rows, map.rows));
      const cols = Array.from({ length: size.cols }, (_, i) => blockOf(i, size.cols, map.cols));
      return answer(await aggregated(reader(ask, true), rows, cols, size, "max", signal));
    },
    async row(ask, signal) {
      return answer(await meanRow(reader(ask, false), ask, signal));
    },
    async column(ask, signal) {
      return answer(await sumColumn(reader(ask, false), ask, map.rows, signal));
    },
  };
}

/** Rows of one head or of the mean of several, hidden entries NaN. */
class Reader {
  private readonly other: Float32Array;

  constructor(
    private readonly weights: LayerWeights,
    private readonly places: number[],
    private readonly dropped: Set<number>,
    readonly keys: number,
  ) {
    this.other = new Float32Array(keys);
  }

  /** p[row, from … to) into out[0 …]; false where nothing of it is visible. */
  stretch(row: number, from: number, to: number, out: Float32Array): boolean {
    const start = Math.max(from, this.weights.mask.start[row]);
    const end = Math.min(to, this.weights.mask.end[row]);
    out.fill(NaN, 0, to - from);
    if (end <= start) return false;
    this.weights.fill(this.places[0], row, start, end, out, start - from);
    for (const place of this.places.slice(1)) {
      this.weights.fill(place, row, start, end, this.other, 0);
      for (let t = 0; t < end - start; t++) out[start - from + t] += this.other[t];
    }
    if (this.places.length > 1) for (let t = start; t < end; t++) out[t - from] /= this.places.length;
    for (const key of this.dropped) if (key >= start && key < end) out[key - from] = NaN;
    return true;
  }
}

/** Lets the page breathe now and then; stops when nobody waits any more. */
function breather(signal: AbortSignal): () => Promise<void> | undefined {
  let since = performance.now();
  signal.throwIfAborted();
  return () => {
    if (performance.now() - since < SLICE_MS) return undefined;
    return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => {
      signal.throwIfAborted();
      since = performance.now();
    });
  };
}

/** Max or mean of the visible entries of every block. Neighbouring column blocks must touch. */
async function aggregated(
  read: Reader,
  rows: Stretch[],
  cols: Stretch[],
  size: Size,
  aggregate: Aggregate,
  signal: AbortSignal,
): Promise<Float32Array> {
  const out = new Float32Array(size.rows * size.cols).fill(NaN);
  if (!out.length) return out;
  const from = cols[0].start;
  const to = cols[cols.length - 1].end;
  const line = new Float32Array(to - from);
  const breathe = breather(signal);
  for (let i = 0; i < size.rows; i++) {
    const sums = new Float64Array(size.cols);
    const counts = new Int32Array(size.cols);
    for (let row = rows[i].start; row < rows[i].end; row++) {
      await breathe();
      if (read.stretch(row, from, to, line)) gather(line, from, cols, aggregate, sums, counts);
    }
    for (let j = 0; j < size.cols; j++)
      if (counts[j]) out[i * size.cols + j] = aggregate === "max" ? sums[j] : sums[j] / counts[j];
  }
  return out;
}

function gather(
  line: Float32Array,
  from: number,
  cols: Stretch[],
  aggregate: Aggregate,
  sums: Float64Array,
  counts: Int32Array,
): void {
  for (let j = 0; j < cols.length; j++) {
    for (let t = cols[j].start - from; t < cols[j].end - from; t++) {
      const value = line[t];
      if (value !== value) continue;
      counts[j]++;
      if (aggregate === "mean") sums[j] += value;
      else if (value > sums[j]) sums[j] = value;
    }
  }
}

async function meanRow(read: Reader, ask: Stretch, signal: AbortSignal): Promise<Float32Array> {
  const keys = read.keys;
  const line = new Float32Array(keys);
  const sums = new Float64Array(keys);
  const seen = new Uint8Array(keys);
  const breathe = breather(signal);
  let count = 0;
  for (let row = ask.start; row < ask.end; row++) {
    await breathe();
    if (!read.stretch(row, 0, keys, line)) continue;
    count++;
    for (let t = 0; t < keys; t++) {
      if (line[t] !== line[t]) continue;
      seen[t] = 1;
      sums[t] += line[t];
    }
  }
  return Float32Array.from(sums, (sum, t) => (seen[t] ? sum / count : NaN));
}

async function sumColumn(read: Reader, ask: Stretch, rows: number, signal: AbortSignal): Promise<Float32Array> {
  const line = new Float32Array(ask.end - ask.start);
  const out = new Float32Array(rows).fill(NaN);
  const breathe = breather(signal);
  for (let row = 0; row < rows; row++) {
    await breathe();
    if (!read.stretch(row, ask.start, ask.end, line)) continue;
    let sum = 0;
    for (const value of line) if (value === value) sum += value;
    out[row] = sum;
  }
  return out;
}
