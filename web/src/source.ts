// Where numbers come from: what may be asked, and what an answer is. Three files answer it: embedded, remote, kernel.

import type { Aggregate } from "./scene";

export type HeadAsk = { layer: number; head: number };
export type StretchAsk = HeadAsk & { start: number; end: number };
export type TileAsk = HeadAsk & {
  level: number;
  row: number;
  col: number;
  aggregate: Aggregate;
  sinks: "keep" | "drop";
  exact: boolean;
};

/** Attention weights, NaN where hidden, and of how many rows they were made. */
export type Answer = { values: Float32Array; rowsRead: number; rowsTotal: number };
export type Status = { state: "ok" | "busy" | "lost"; progress?: number; says?: string };

/** Whoever answers: the page itself, a tile server, a kernel. Every promise rejects when its signal aborts. */
export interface Source {
  readonly name: "embedded" | "remote" | "widget";
  tile(ask: TileAsk, signal: AbortSignal): Promise<Answer>;
  row(ask: StretchAsk, signal: AbortSignal): Promise<Answer>;
  column(ask: StretchAsk, signal: AbortSignal): Promise<Answer>;
  thumbnail(ask: HeadAsk, signal: AbortSignal): Promise<Answer>;
  watch?(tell: (status: Status) => void): () => void;
}

export function isExact(answer: Answer): boolean {
  return answer.rowsRead >= answer.rowsTotal;
}

/** Whether an error only says that nobody waits any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
