// @vitest-environment happy-dom
// What the views draw, as snapshots: look at the difference before you accept a new one (`npx vitest run -u`).

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { drawAxes } from "../src/axes";
import { palette } from "../src/colour";
import { draw } from "../src/draw";
import { embedded } from "../src/embedded";
import { pixelsOf, scaleFor } from "../src/paint";
import { levelFor, sizeOf, tilesIn } from "../src/pyramid";
import type { Scene } from "../src/scene";
import { clamped, entryAt, visible } from "../src/viewport";
import { dataOf, sceneOf } from "./scenes";
import numbers from "./numbers.json";

const one = numbers.cases[0];
const full: Partial<Scene> = {
  spans: [
    { name: "instruction", start: 0, end: 4 },
    { name: "data", start: 4, end: 63 },
  ],
  statistics: [
    { key: "sink", label: "Sink mass", help: "On the first token.", unit: "share", values: [[0.25, null, 0.9]] },
    { key: "entropy", label: "Entropy", help: "Of rows.", unit: "nats", values: [[1.5, 0.2, 3]], weights: [[1, 0, 1]] },
  ],
  flow: {
    names: ["instruction", "data"],
    mass: [
      [0.2, 0.4, 0.6].map((p) => [
        [1, null],
        [p, 0.9 - p],
      ]),
    ],
    rollout: [
      [
        [1, 0],
        [0.5, 0.5],
      ],
    ],
    rows_read: 16,
    rows_total: 63,
  },
  passages: [{ label: "Data", text: "Obey 😀 me", marks_name: "share", marks: [{ start: 0, end: 4, weight: 0.5 }] }],
  risk: { value: 0.93, threshold: 0.5 },
  headline: "Obeyed",
  tone: "bad",
};
let el: HTMLElement;
let undo: () => void;

beforeEach(() => {
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener: () => 0, removeEventListener: () => 0 }));
  el = document.body.appendChild(document.createElement("div"));
});
afterEach(() => {
  undo?.();
  el.remove();
});

test.each([
  "view=evidence",
  "view=heads&statistic=sink",
  "view=heads&statistic=entropy&sort=high",
  "view=flow",
  "view=flow&flow=rollout",
])("%s", (state) => {
  const scene = sceneOf(one, full);
  undo = draw(el, scene, embedded(scene, dataOf(one.factors)), { state });
  expect(el.querySelector(".views")!.innerHTML.replaceAll("><", ">\n<")).toMatchSnapshot();
});

test("tokens", async () => {
  const tokens = Array.from({ length: 63 }, (_, i) => ["\u202eab", " c\n", "\n\n", "", "\t", " 😀"][i % 6]);
  const scene = sceneOf(one, { ...full, tokens, special: [0] });
  undo = draw(el, scene, embedded(scene, dataOf(one.factors)), {
    state: "view=tokens&from=60&to=62&query=c&sinks=drop",
  });
  await vi.waitFor(() => expect(el.querySelector(".legend .bar")).not.toBeNull());
  expect(el.querySelector(".views")!.innerHTML.replaceAll("><", ">\n<")).toMatchSnapshot();
});

const plot = { width: 640, height: 480 };

test.each([
  ["small", { rows: 63, cols: 63 }, { x: 0, y: 0, zoom: 0 }],
  ["large", { rows: 32768, cols: 32768 }, { x: 0, y: 0, zoom: 0 }],
  ["between", { rows: 4096, cols: 8192 }, { x: 3000, y: 1000, zoom: 0.6 }],
  ["near", { rows: 1000, cols: 800 }, { x: 790, y: 3.5, zoom: 30 }],
])("where a map is: %s", (_, size, wanted) => {
  const port = clamped(wanted, size, plot);
  const { rows, cols } = visible(port, size, plot);
  const level = levelFor(size, port.zoom);
  const tiles = tilesIn(size, level, rows, cols).map((tile) => ({ ...tile, ...sizeOf(size, tile) }));
  expect({ port, rows, cols, level, tiles, middle: entryAt(port, 320, 240, size) }).toMatchSnapshot();
});

test.each([0, 12])("margins of a map at zoom %d", (zoom) => {
  const scene = sceneOf(one, { ...full, special: [1] });
  const size = { rows: 63, cols: 63 };
  const port = clamped({ x: 40.5, y: 20, zoom }, size, plot);
  const seen = visible(port, size, plot);
  const { pen, drawn } = recorder();
  const look = { text: "text", muted: "muted", accent: "accent", font: "mono" };
  drawAxes(pen, scene, port, seen, { rows: { start: 24, end: 26 }, key: 42, hits: new Set([30, 44]) }, look);
  expect(drawn.join("\n")).toMatchSnapshot();
});

/** A canvas that writes down what is drawn, and where. */
function recorder(): { pen: CanvasRenderingContext2D; drawn: string[] } {
  const drawn: string[] = [];
  let at = "";
  const round = (value: number): string => value.toFixed(1);
  const pen = {
    save: () => undefined,
    restore: () => undefined,
    rotate: (turn: number) => (at += turn ? " turned" : ""),
    translate: (x: number, y: number) => (at = `${round(x)} ${round(y)}`),
    fillText: (text: string) => drawn.push(`${text} at ${at}, ${pen.textAlign}, ${pen.fillStyle}, ${pen.font}`),
    fillRect: (...box: number[]) => drawn.push(`${pen.fillStyle} box ${box.map(round).join(" ")}`),
    textAlign: "",
    fillStyle: "",
    font: "",
  };
  return { pen: pen as unknown as CanvasRenderingContext2D, drawn };
}

test("pixels of a tile: hidden entries are clear, the largest is the palette's end", () => {
  const values = Float32Array.of(0, 0.5, 1, NaN);
  const colours = palette("viridis", false);
  for (const name of ["linear", "log", "rank"] as const)
    expect([...pixelsOf(values, scaleFor(name, [values]), colours)].join(" ")).toMatchSnapshot(name);
});
