// @vitest-environment happy-dom
// What the views draw, as snapshots: look at the difference before you accept a new one (`npx vitest run -u`).

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { palette } from "../src/colour";
import { draw } from "../src/draw";
import { embedded } from "../src/embedded";
import { pixelsOf, scaleFor } from "../src/paint";
import type { Scene } from "../src/scene";
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

test("pixels of a tile: hidden entries are clear, the largest is the palette's end", () => {
  const values = Float32Array.of(0, 0.5, 1, NaN);
  const colours = palette("viridis", false);
  for (const name of ["linear", "log", "rank"] as const)
    expect([...pixelsOf(values, scaleFor(name, [values]), colours)].join(" ")).toMatchSnapshot(name);
});
