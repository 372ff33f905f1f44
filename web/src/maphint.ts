// What is under the pointer: tokens, weight and rank, beside the pointer and in the readout.

import { LEFT, TOP } from "./axes";
import { number } from "./colour";
import { h } from "./dom";
import type { MapPane } from "./map";
import { rowToken } from "./scene";
import { entryAt } from "./viewport";
import { count, label } from "./words";

const DWELL_MS = 120;

/** Show hints on a stage; returns the undo. */
export function hints(map: MapPane, stage: HTMLElement): () => void {
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": true });
  stage.append(tip);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asked = new AbortController();
  const hide = (): void => {
    clearTimeout(timer);
    asked.abort();
    tip.hidden = true;
  };
  const show = (event: PointerEvent): void => {
    hide();
    const at = entryAt(map.sight().port, event.offsetX - LEFT, event.offsetY - TOP, map.size);
    if (!at || event.offsetX < LEFT || event.offsetY < TOP || event.buttons) return;
    const lines = describe(map, at.row, at.col);
    const rank = h("p", {});
    tip.replaceChildren(...lines, rank);
    tip.hidden = false;
    const left = event.offsetX + 16;
    tip.style.left = `${left + tip.offsetWidth > stage.clientWidth ? Math.max(0, event.offsetX - tip.offsetWidth - 12) : left}px`;
    tip.style.top = `${Math.min(event.offsetY + 16, Math.max(0, stage.clientHeight - tip.offsetHeight))}px`;
    if (map.sight().level > 0) return;
    timer = setTimeout(() => {
      asked = new AbortController();
      void ranked(map, at.row, at.col, asked.signal).then(
        (text) => (rank.textContent = text),
        () => undefined,
      );
    }, DWELL_MS);
  };
  map.canvas.addEventListener("pointermove", show);
  map.canvas.addEventListener("pointerleave", hide);
  map.canvas.addEventListener("pointerdown", hide);
  return hide;
}

/** The place of a weight among the keys its row sees: "rank 3 of 812". */
export async function ranked(map: MapPane, row: number, col: number, signal: AbortSignal): Promise<string> {
  const { layer, head } = map.context.store.state;
  const { values } = await map.context.vectors.get("row", { layer, head, start: row, end: row + 1 }, signal);
  const own = values[col];
  if (own !== own) return "";
  const seen = values.filter((value) => value === value);
  return `rank ${count(1 + seen.filter((value) => value > own).length)} of ${count(seen.length)} keys`;
}

/** One sentence on an entry, for the readout. */
export function sentence(map: MapPane, row: number, col: number): string {
  const value = map.valueAt(row, col, 0);
  const says = value === undefined ? "not loaded at this zoom" : value !== value ? "hidden by the mask" : number(value);
  const { scene } = map.context;
  return `Row ${row} ${label(rowToken(scene, row))} to key ${col} ${label(scene.tokens[col])}: ${says}.`;
}

function describe(map: MapPane, row: number, col: number): HTMLElement[] {
  const { level } = map.sight();
  const { scene, store } = map.context;
  const value = map.valueAt(row, col, level);
  const shown = value === undefined ? "…" : value !== value ? "hidden by the mask" : number(value);
  if (level === 0)
    return [
      h("p", { class: "value" }, shown),
      token("row", row, rowToken(scene, row)),
      token("key", col, scene.tokens[col]),
    ];
  const side = 2 ** level;
  const block = (at: number, total: number): string =>
    `${count(Math.floor(at / side) * side)}–${count(Math.min(total, (Math.floor(at / side) + 1) * side) - 1)}`;
  return [
    h("p", { class: "value" }, value === undefined || value !== value ? shown : `${store.state.aggregate} ${shown}`),
    h("p", {}, `rows ${block(row, map.size.rows)}`),
    h("p", {}, `keys ${block(col, map.size.cols)}`),
  ];
}

function token(what: string, at: number, text: string): HTMLElement {
  return h("p", {}, h("span", { class: "what" }, `${what} ${count(at)}`), h("bdi", { class: "token" }, label(text)));
}
