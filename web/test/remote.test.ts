import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { remote } from "../src/remote";
import type { Status } from "../src/source";
import { sceneOf } from "./scenes";
import numbers from "./numbers.json";

const scene = sceneOf(numbers.cases[0]);
const signal = new AbortController().signal;
const floats = (count: number): Response =>
  new Response(new Float32Array(count).fill(0.25).buffer, { headers: { "X-Heed-Rows": "63/63" } });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function answering(...answers: (Response | Error)[]): ReturnType<typeof vi.fn> {
  const asked = vi.fn(() => {
    const answer = answers.length > 1 ? answers.shift()! : answers[0];
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer.clone());
  });
  vi.stubGlobal("fetch", asked);
  return asked;
}

test("a tile is one request under the base", async () => {
  const asked = answering(floats(63 * 63));
  const source = remote(scene, "./");
  const answer = await source.tile(
    { layer: 3, head: -1, level: 0, row: 0, col: 0, aggregate: "max", sinks: "keep", exact: false },
    signal,
  );
  expect(asked.mock.calls[0][0]).toBe("./tile?layer=3&head=-1&level=0&row=0&col=0&aggregate=max&sinks=keep&exact=0");
  expect(answer).toMatchObject({ rowsRead: 63, rowsTotal: 63 });
  expect(answer.values[5]).toBe(0.25);
});

test("coarse cells come as scaled halves", async () => {
  answering(new Response(new Uint16Array(32 * 32).fill(0x7400).buffer, { headers: { "X-Heed-Rows": "8/63" } }));
  const ask = { layer: 3, head: 5, level: 1, row: 0, col: 0, aggregate: "mean", sinks: "drop", exact: true } as const;
  const answer = await remote(scene, "./").tile(ask, signal);
  expect(answer.values[0]).toBe(0.5);
  expect(answer.rowsRead).toBe(8);
});

test("a busy server is asked again", async () => {
  const asked = answering(new Response(null, { status: 503 }), floats(63));
  const answer = remote(scene, "./").row({ layer: 3, head: 5, start: 0, end: 1 }, signal);
  await vi.advanceTimersByTimeAsync(1000);
  expect((await answer).values).toHaveLength(63);
  expect(asked).toHaveBeenCalledTimes(2);
});

test("the server's own words are passed on", async () => {
  answering(Response.json({ error: "expected a layer in [0, 30), found 99" }, { status: 404 }));
  await expect(remote(scene, "./").row({ layer: 3, head: 5, start: 0, end: 1 }, signal)).rejects.toThrow("found 99");
});

test("the page hears when the server is lost, and when it is back", async () => {
  const heard: Status["state"][] = [];
  answering(
    Response.json({ trace: "a", busy: false }),
    new TypeError("no route"),
    Response.json({ trace: "a", busy: true, progress: 0.5 }),
  );
  const off = remote(scene, "./", "a").watch!((status) => heard.push(status.state));
  await vi.advanceTimersByTimeAsync(40_000);
  off();
  expect(heard.slice(0, 3)).toEqual(["ok", "lost", "busy"]);
  const before = heard.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(heard).toHaveLength(before);
});

test("another trace is not taken for this one", async () => {
  const heard: Status[] = [];
  answering(Response.json({ trace: "b" }));
  const off = remote(scene, "./", "a").watch!((status) => heard.push(status));
  await vi.advanceTimersByTimeAsync(3000);
  off();
  expect(heard[0]).toMatchObject({ state: "lost", says: expect.stringContaining("another trace") });
});
