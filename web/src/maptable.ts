// The map as a table: the exact weights of what is on screen, for whoever cannot see colours or wants the numbers.

import { number } from "./colour";
import { h, table } from "./dom";
import type { MapPane } from "./map";
import { rowToken } from "./scene";
import { isAbort } from "./source";
import { count, label } from "./words";

const MOST_ROWS = 24;
const MOST_KEYS = 16;
const SETTLE_MS = 200;

/** A table that is filled while it is open, and its undo. */
export function mapTable(map: MapPane): { el: HTMLElement; undo: () => void } {
  const body = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Weights as a table" });
  const el = h("details", { class: "fallback" }, h("summary", {}, "What is on screen as a table"), body);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asked = new AbortController();
  const fill = (): void => {
    clearTimeout(timer);
    asked.abort();
    if (!el.open) return;
    timer = setTimeout(() => {
      asked = new AbortController();
      const fail = (error: unknown): void => {
        if (!isAbort(error)) body.replaceChildren(h("p", {}, `The table could not be made: ${String(error)}`));
      };
      made(map, asked.signal).then((found) => body.replaceChildren(found), fail);
    }, SETTLE_MS);
  };
  el.addEventListener("toggle", fill);
  const off = map.context.store.on(fill);
  return {
    el,
    undo: () => {
      clearTimeout(timer);
      asked.abort();
      off();
    },
  };
}

async function made(map: MapPane, signal: AbortSignal): Promise<HTMLTableElement> {
  const { scene, store, vectors } = map.context;
  const { layer, head, from, key } = store.state;
  const { seen } = map.sight();
  const rows = around(from, seen.rows.start, seen.rows.end, MOST_ROWS);
  const keys = around(key, seen.cols.start, seen.cols.end, MOST_KEYS);
  const lines: string[][] = [];
  for (const row of rows) {
    const { values } = await vectors.get("row", { layer, head, start: row, end: row + 1 }, signal);
    lines.push([
      `${count(row)} ${label(rowToken(scene, row))}`,
      ...keys.map((t) => (values[t] !== values[t] ? "hidden" : number(values[t]))),
    ]);
  }
  const part = rows.length * keys.length < (seen.rows.end - seen.rows.start) * (seen.cols.end - seen.cols.start);
  const caption = `Exact weights, rows ${rows[0]} to ${rows.at(-1)!} by keys ${keys[0]} to ${keys.at(-1)!}${part ? ` (the first ${MOST_ROWS} × ${MOST_KEYS} around what is chosen)` : ""}`;
  return table(caption, ["row \\ key", ...keys.map((t) => `${count(t)} ${label(scene.tokens[t])}`)], lines);
}

function around(at: number | null, start: number, end: number, most: number): number[] {
  const first = Math.max(start, Math.min(end - most, (at ?? start) - (at === null ? 0 : most >> 1)));
  return Array.from({ length: Math.min(most, end - first) }, (_, i) => first + i);
}
