// What is being looked at, as one small value; how it stands in an address; who hears when it changes.

import type { PaletteName, ScaleName } from "./colour";
import { hasMap, MEAN, viewsOf, type Aggregate, type Scene, type View } from "./scene";

export type State = {
  view: View;
  layer: number;
  head: number;
  /** Chosen rows, [from, to); null: none. */
  from: number | null;
  to: number | null;
  /** Chosen key. */
  key: number | null;
  /** Tokens view: what the chosen tokens attend to, or what attends to them. */
  direction: "to" | "by";
  scale: ScaleName;
  palette: PaletteName;
  aggregate: Aggregate;
  sinks: "keep" | "drop";
  /** Heads view: "map" for thumbnails, else a statistic's key. */
  statistic: string;
  sort: "layer" | "high" | "low";
  flow: "heads" | "head" | "rollout";
  query: string;
  /** Where the map is: first row and key on screen, and CSS pixels of one entry; zoom 0 fits the map. */
  x: number;
  y: number;
  zoom: number;
};

export function initial(scene: Scene): State {
  const open = scene.open ?? {};
  const views = viewsOf(scene);
  const row = open.row ?? null;
  return {
    view: open.view && views.includes(open.view) ? open.view : (views[0] ?? "map"),
    layer: pick(open.layer, scene.layers, scene.layers[Math.floor(scene.layers.length / 2)] ?? 0),
    head: pick(open.head, [MEAN, ...scene.heads], scene.heads.length > 1 ? MEAN : (scene.heads[0] ?? 0)),
    from: row,
    to: row === null ? null : row + 1,
    key: null,
    direction: "to",
    scale: "log",
    palette: "viridis",
    aggregate: scene.aggregates[0] ?? "max",
    sinks: "keep",
    statistic: hasMap(scene) ? "map" : (scene.statistics[0]?.key ?? "map"),
    sort: "layer",
    flow: "heads",
    query: "",
    x: 0,
    y: 0,
    zoom: 0,
  };
}

const WORDS = {
  view: ["map", "heads", "tokens", "flow", "evidence"],
  direction: ["to", "by"],
  scale: ["linear", "log", "rank"],
  palette: ["viridis", "cividis", "ink"],
  aggregate: ["max", "mean"],
  sinks: ["keep", "drop"],
  sort: ["layer", "high", "low"],
  flow: ["heads", "head", "rollout"],
} as const;
const POSITIONS = ["from", "to", "key"] as const;
const PLACES = ["x", "y", "zoom"] as const;

/** The state as the text of an address: only what differs from how the scene opens. */
export function toHash(state: State, scene: Scene): string {
  const usual = initial(scene);
  const parts = new URLSearchParams();
  for (const key of Object.keys(usual) as (keyof State)[])
    if (state[key] !== usual[key]) parts.set(key, state[key] === null ? "" : String(round(state[key])));
  return parts.toString();
}

/** The state an address means; whatever in it makes no sense here is passed over. */
export function fromHash(hash: string, scene: Scene): State {
  const state = initial(scene);
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const views = viewsOf(scene);
  for (const [key, words] of Object.entries(WORDS)) {
    const word = parts.get(key);
    if (word !== null && (words as readonly string[]).includes(word)) Object.assign(state, { [key]: word });
  }
  if (!views.includes(state.view)) state.view = initial(scene).view;
  if (!scene.aggregates.includes(state.aggregate)) state.aggregate = scene.aggregates[0] ?? "max";
  if (parts.has("layer")) state.layer = pick(Number(parts.get("layer")), scene.layers, state.layer);
  if (parts.has("head")) state.head = pick(Number(parts.get("head")), [MEAN, ...scene.heads], state.head);
  for (const key of POSITIONS) if (parts.has(key)) state[key] = position(parts.get(key)!);
  for (const key of PLACES) if (parts.has(key)) state[key] = Math.max(0, Number(parts.get(key)) || 0);
  state.query = parts.get("query") ?? state.query;
  const statistic = parts.get("statistic");
  if (statistic !== null && (statistic === "map" || scene.statistics.some((s) => s.key === statistic)))
    state.statistic = statistic;
  return bounded(state, scene);
}

/** Who looks at the state, and the one way to change it. */
export class Store {
  private readonly listeners = new Set<(state: State, changed: Set<keyof State>) => void>();

  constructor(
    public state: State,
    readonly scene: Scene,
  ) {}

  set(patch: Partial<State>): void {
    const next = bounded({ ...this.state, ...patch }, this.scene);
    const changed = new Set((Object.keys(next) as (keyof State)[]).filter((key) => next[key] !== this.state[key]));
    if (!changed.size) return;
    this.state = next;
    for (const listener of this.listeners) listener(next, changed);
  }

  /** Choose rows, and a key with them. */
  choose(from: number, to = from + 1, key: number | null = null): void {
    this.set({ from, to, key });
  }

  on(listener: (state: State, changed: Set<keyof State>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The nearest state that the scene has. */
function bounded(state: State, scene: Scene): State {
  if (!hasMap(scene)) return { ...state, from: null, to: null, key: null };
  const within = (at: number, most: number): number => Math.min(most, Math.max(0, Math.floor(at)));
  const from = state.from === null ? null : within(state.from, scene.n_rows - 1);
  const to = from === null ? null : Math.max(from + 1, within(state.to ?? from + 1, scene.n_rows));
  const key = state.key === null ? null : within(state.key, scene.n_keys - 1);
  return { ...state, from, to, key };
}

function pick(wanted: number | undefined, known: number[], otherwise: number): number {
  return wanted !== undefined && known.includes(wanted) ? wanted : otherwise;
}

function position(text: string): number | null {
  return /^\d+$/.test(text) ? Number(text) : null;
}

function round(value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}
