// Scenes for tests: small, whole.

import type { Data, LayerData } from "../src/exact";
import type { Scene } from "../src/scene";
import numbers from "./numbers.json";

export type Case = (typeof numbers.cases)[number];

export function sceneOf(one: Case, patch: Partial<Scene> = {}): Scene {
  return {
    version: 1,
    kind: "trace",
    title: one.name,
    model: "m",
    dtype: "float32",
    tokens: Array.from({ length: one.keys }, (_, i) => ` t${i}`),
    ...(one.rows === one.keys ? {} : { row_tokens: Array.from({ length: one.rows }, (_, i) => ` r${i}`) }),
    spans: [],
    layers: [3],
    heads: one.factors.kv.map((_, i) => i + 5),
    n_rows: one.rows,
    n_keys: one.keys,
    aggregates: ["max", "mean"],
    sinks: numbers.sinks,
    statistics: [],
    passages: [],
    info: [],
    notes: [],
    exactness: "exact",
    ...patch,
  };
}

export function dataOf(layer: unknown): Data {
  return { layers: { 3: layer as LayerData } };
}
