import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { over, type Model } from "../src/kernel";
import type { Status } from "../src/source";
import { sceneOf } from "./scenes";
import numbers from "./numbers.json";

class FakeModel implements Model {
  readonly sent: Record<string, unknown>[] = [];
  private hear: ((...parts: never[]) => void) | null = null;
  get = (): unknown => undefined;
  set = (): void => undefined;
  save_changes = (): void => undefined;
  send = (content: unknown): void => void this.sent.push(content as Record<string, unknown>);
  on = (_: string, listener: (...parts: never[]) => void): void => void (this.hear = listener);
  off = (): void => void (this.hear = null);
  say(message: object, ...buffers: DataView[]): void {
    this.hear?.(message as never, buffers as never);
  }
}

const scene = sceneOf(numbers.cases[0]);
const ask = { layer: 3, head: 5, start: 2, end: 3 };
let model: FakeModel;

beforeEach(() => {
  vi.useFakeTimers();
  model = new FakeModel();
});
afterEach(() => void vi.useRealTimers());

function watched(): { source: ReturnType<typeof over>; heard: Status[]; off: () => void } {
  const source = over(scene, model);
  const heard: Status[] = [];
  return { source, heard, off: source.watch!((status) => heard.push(status)) };
}

test("an answer finds the question it belongs to, whatever the order", async () => {
  const { source, off } = watched();
  const signal = new AbortController().signal;
  const [row, column] = [source.row(ask, signal), source.column(ask, signal)];
  expect(model.sent).toEqual([
    { type: "ask", id: 1, what: "row", ...ask },
    { type: "ask", id: 2, what: "column", ...ask },
  ]);
  const padded = new ArrayBuffer(4 + 63 * 4); // a buffer may be a part of a larger one
  new Float32Array(padded).fill(0.5);
  model.say({ type: "answer", id: 2, rows_read: 9, rows_total: 63 }, new DataView(padded, 4));
  model.say(
    { type: "answer", id: 1, rows_read: 63, rows_total: 63 },
    new DataView(new Float32Array(63).fill(0.25).buffer),
  );
  expect((await row).values[62]).toBe(0.25);
  expect(await column).toMatchObject({ rowsRead: 9, rowsTotal: 63 });
  off();
});

test("a question nobody waits for is cancelled in the kernel; a late answer is nobody's", async () => {
  const { source, off } = watched();
  const asked = new AbortController();
  const row = source.row(ask, asked.signal);
  asked.abort();
  await expect(row).rejects.toThrow("abort");
  expect(model.sent.at(-1)).toEqual({ type: "cancel", id: 1 });
  model.say({ type: "answer", id: 1, rows_read: 1, rows_total: 1 }, new DataView(new ArrayBuffer(0)));
  off();
});

test("the kernel's own words are passed on", async () => {
  const { source, off } = watched();
  const row = source.row(ask, new AbortController().signal);
  model.say({ type: "answer", id: 1, error: "expected a head in [0, 9), found 12" });
  await expect(row).rejects.toThrow("found 12");
  off();
});

test("a kernel that says nothing for a minute is reported", () => {
  const { source, heard, off } = watched();
  source.row(ask, new AbortController().signal).catch(() => undefined);
  vi.advanceTimersByTime(60_000);
  expect(heard.at(-1)).toMatchObject({ state: "lost" });
  off();
});
