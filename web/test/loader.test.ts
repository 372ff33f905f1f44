import { expect, test, vi } from "vitest";
import { Tiles, Vectors, type Place } from "../src/loader";
import type { Answer, Source, TileAsk } from "../src/source";

const place = (col: number): Place => ({ layer: 0, head: 0, level: 1, row: 0, col, aggregate: "max", sinks: "keep" });
const answer = (read = 4): Answer => ({ values: new Float32Array(1), rowsRead: read, rowsTotal: 4 });

/** A source whose answers are given by hand. */
function handed(): { source: Source; asks: { ask: TileAsk; signal: AbortSignal; give: (answer: Answer) => void }[] } {
  const asks: { ask: TileAsk; signal: AbortSignal; give: (answer: Answer) => void }[] = [];
  const later = (ask: unknown, signal: AbortSignal): Promise<Answer> =>
    new Promise((give, fail) => {
      asks.push({ ask: ask as TileAsk, signal, give });
      signal.addEventListener("abort", () => fail(signal.reason));
    });
  return { source: { name: "remote", tile: later, row: later, column: later, thumbnail: later }, asks };
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

test("no more than three questions at once, the next when one is answered", async () => {
  const { source, asks } = handed();
  const tiles = new Tiles(
    source,
    () => undefined,
    () => undefined,
  );
  tiles.want([0, 1, 2, 3, 4, 5].map(place));
  expect(asks).toHaveLength(3);
  asks[0].give(answer());
  await settle();
  expect(asks).toHaveLength(4);
  expect(tiles.pending).toBe(5);
});

test("exact answers, which take long, do not keep new tiles waiting", async () => {
  const { source, asks } = handed();
  const tiles = new Tiles(
    source,
    () => undefined,
    () => undefined,
  );
  tiles.want([0, 1, 2].map(place));
  for (const ask of asks.slice(0, 3)) ask.give(answer(1));
  await settle();
  expect(asks.slice(3).map(({ ask }) => ask.exact)).toEqual([true]);
  tiles.want([0, 1, 2, 7].map(place));
  expect(asks.at(-1)!.ask).toMatchObject({ col: 7, exact: false });
});

test("what is off screen is cancelled, what is still on screen goes on", async () => {
  const { source, asks } = handed();
  const failed = vi.fn();
  const tiles = new Tiles(source, () => undefined, failed);
  tiles.want([0, 1].map(place));
  tiles.want([1, 2].map(place));
  await settle();
  expect(asks.map(({ signal }) => signal.aborted)).toEqual([true, false, false]);
  expect(failed).not.toHaveBeenCalled();
});

test("a tile of sampled rows is shown, then asked for exactly", async () => {
  const { source, asks } = handed();
  const changed = vi.fn();
  const tiles = new Tiles(source, changed, () => undefined);
  tiles.want([place(0)]);
  asks[0].give(answer(1));
  await settle();
  expect(tiles.get(place(0))?.rowsRead).toBe(1);
  expect(tiles.pending).toBe(1);
  expect(asks[1].ask.exact).toBe(true);
  asks[1].give(answer(4));
  await settle();
  expect(tiles.pending).toBe(0);
  expect(changed).toHaveBeenCalledTimes(2);
  expect(asks).toHaveLength(2);
});

test("a failure is told and tried again", async () => {
  vi.useFakeTimers();
  const { source } = handed();
  const tile = vi.fn(() => Promise.reject(new Error("gone")));
  const failed = vi.fn();
  const tiles = new Tiles({ ...source, tile }, () => undefined, failed);
  tiles.want([place(0)]);
  await vi.advanceTimersByTimeAsync(3100);
  expect(failed).toHaveBeenCalledWith("gone");
  expect(tile).toHaveBeenCalledTimes(2);
  tiles.stop();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(tile).toHaveBeenCalledTimes(2);
  vi.useRealTimers();
});

test("a row is asked for once, and again for another who waits when the first gives up", async () => {
  const { source, asks } = handed();
  const vectors = new Vectors(source);
  const first = new AbortController();
  const ask = { layer: 0, head: 0, start: 0, end: 1 };
  const one = vectors.get("row", ask, first.signal);
  const two = vectors.get("row", ask, new AbortController().signal);
  expect(asks).toHaveLength(1);
  first.abort();
  await expect(one).rejects.toThrow("abort");
  await settle();
  expect(asks).toHaveLength(2);
  asks[1].give(answer());
  expect((await two).rowsRead).toBe(4);
});
