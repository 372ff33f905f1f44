// What the page gets, as data: the types of docs/viewer.md, section 2. Knows neither a host nor how anything is drawn.

export const VERSION = 1;

export type Tone = "good" | "bad" | "unsure" | "neutral";
export type View = "map" | "heads" | "tokens" | "flow" | "evidence";
export type Aggregate = "max" | "mean";
export type Cell = number | null;

/** A named stretch of key tokens, [start, end). */
export type Span = { name: string; start: number; end: number };

/** A number for every layer and head. */
export type Statistic = {
  key: string;
  label: string;
  help: string;
  unit: "share" | "nats" | "tokens" | "";
  values: Cell[][];
  layers?: number[];
  heads?: number[];
  weights?: number[][];
  low?: string;
  high?: string;
};

/** Attention between spans: mass [L][H][S][S], rollout [L][S][S]. */
export type Flow = {
  names: string[];
  mass: Cell[][][][];
  rollout: Cell[][][] | null;
  rows_read: number;
  rows_total: number;
};

/** `tokens`: the keys it stands on, [start, end), where there is a map of the text. */
export type Mark = { start: number; end: number; weight: number; tokens?: [number, number] | null };
export type Passage = { label: string; text: string; marks_name: string; marks: Mark[] };

export type Scene = {
  version: number;
  kind: "trace" | "array" | "verdict" | "citation" | "synthetic";
  title: string;
  headline?: string;
  tone?: Tone;
  model: string;
  dtype: string;
  tokens: string[];
  row_tokens?: string[];
  row_offset?: number;
  special?: number[];
  spans: Span[];
  layers: number[];
  heads: number[];
  n_rows: number;
  n_keys: number;
  aggregates: Aggregate[];
  sinks?: number[];
  statistics: Statistic[];
  flow?: Flow | null;
  passages: Passage[];
  risk?: { value: number; threshold: number | null } | null;
  /** What the evidence says of itself, beside a map. */
  numbers?: [string, string][];
  info: [string, string][];
  notes: string[];
  watermark?: string | null;
  exactness: string;
  open?: { view?: View; layer?: number; head?: number; row?: number };
};

/** The mean of all heads, where a head is asked for. */
export const MEAN = -1;

/** Why a scene cannot be shown, or null. */
export function refusal(scene: Scene): string | null {
  if (typeof scene !== "object" || scene === null) return "Expected a scene, found none.";
  if (scene.version !== VERSION)
    return `Expected a scene of version ${VERSION}, found ${String(scene.version)}: page and heed are of different versions. Make the page again.`;
  if (hasMap(scene) && scene.tokens.length < scene.n_keys)
    return `Expected ${scene.n_keys} tokens, found ${scene.tokens.length}.`;
  return null;
}

/** Whether there is attention to ask for. */
export function hasMap(scene: Scene): boolean {
  return scene.layers.length > 0 && scene.heads.length > 0 && scene.n_rows > 0 && scene.n_keys > 0;
}

/** The views this scene has something for, in the order of the tabs. */
export function viewsOf(scene: Scene): View[] {
  const map = hasMap(scene);
  const has: Record<View, boolean> = {
    evidence: scene.passages.length > 0,
    map,
    heads: map || scene.statistics.length > 0,
    tokens: map,
    flow: !!scene.flow && scene.flow.names.length > 0,
  };
  return (["evidence", "map", "heads", "tokens", "flow"] as const).filter((view) => has[view]);
}

/** The token of a row as text. */
export function rowToken(scene: Scene, row: number): string {
  return (scene.row_tokens ? scene.row_tokens[row] : scene.tokens[row + (scene.row_offset ?? 0)]) ?? "";
}

/** Whether rows and keys are the same tokens, so that a row can be found among the keys. */
export function sameTokens(scene: Scene): boolean {
  return !scene.row_tokens;
}

/** The row that a key token is, or null where it is none. */
export function rowOfKey(scene: Scene, key: number): number | null {
  const row = key - (scene.row_offset ?? 0);
  return sameTokens(scene) && row >= 0 && row < scene.n_rows ? row : null;
}
