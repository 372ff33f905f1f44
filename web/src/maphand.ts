// Hands on the map: drag, wheel, pinch, click and keys.

import { LEFT, TOP } from "./axes";
import type { MapPane } from "./map";
import { sentence } from "./maphint";
import { entryAt } from "./viewport";

const CLICK_PIXELS = 4;

/** Make the map's canvas follow pointer and keyboard; returns the undo. */
export function hand(map: MapPane): () => void {
  const { canvas } = map;
  const pointers = new Map<number, PointerEvent>();
  let moved = 0;

  const down = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    if (pointers.size === 1) moved = 0;
  };
  const move = (event: PointerEvent): void => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, event);
    moved += Math.abs(event.offsetX - before.offsetX) + Math.abs(event.offsetY - before.offsetY);
    const { port } = map.sight();
    if (pointers.size === 1 && moved > CLICK_PIXELS)
      map.go({
        ...port,
        x: port.x - (event.offsetX - before.offsetX) / port.zoom,
        y: port.y - (event.offsetY - before.offsetY) / port.zoom,
      });
    if (pointers.size === 2)
      pinch(
        map,
        before,
        event,
        [...pointers.values()].find((other) => other.pointerId !== event.pointerId)!,
      );
  };
  const up = (event: PointerEvent): void => {
    if (pointers.delete(event.pointerId) && moved <= CLICK_PIXELS && event.type === "pointerup") click(map, event);
  };
  const wheel = (event: WheelEvent): void => {
    const before = map.sight().port.zoom;
    map.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.offsetX - LEFT, event.offsetY - TOP);
    if (map.sight().port.zoom !== before) event.preventDefault(); // at either end the page scrolls on
  };
  const press = (event: KeyboardEvent): void => {
    if (key(map, event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("wheel", wheel, { passive: false });
  canvas.addEventListener("dblclick", (event) => map.zoom(2, event.offsetX - LEFT, event.offsetY - TOP));
  canvas.addEventListener("keydown", press);
  return () => pointers.clear();
}

function pinch(map: MapPane, before: PointerEvent, now: PointerEvent, other: PointerEvent): void {
  const reach = (event: PointerEvent): number =>
    Math.hypot(event.offsetX - other.offsetX, event.offsetY - other.offsetY);
  const factor = reach(now) / Math.max(1, reach(before));
  map.zoom(factor, (now.offsetX + other.offsetX) / 2 - LEFT, (now.offsetY + other.offsetY) / 2 - TOP);
}

function click(map: MapPane, event: PointerEvent): void {
  const { port } = map.sight();
  const px = event.offsetX - LEFT;
  const py = event.offsetY - TOP;
  const row = entryAt(port, 0, Math.max(0, py), map.size)?.row;
  const col = entryAt(port, Math.max(0, px), 0, map.size)?.col;
  const { store } = map.context;
  if (px < 0 && py >= 0 && row !== undefined) store.choose(row, row + 1, store.state.key);
  else if (py < 0 && px >= 0 && col !== undefined) store.set({ key: col });
  else if (px >= 0 && py >= 0 && row !== undefined && col !== undefined) choose(map, row, col);
}

function choose(map: MapPane, row: number, col: number): void {
  map.context.store.choose(row, row + 1, col);
  map.context.say(sentence(map, row, col));
}

/** Whether the key meant something to the map. */
function key(map: MapPane, event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const { level, seen } = map.sight();
  const { state } = map.context.store;
  const step = 2 ** level * (event.shiftKey ? 10 : 1);
  const page = Math.max(1, Math.floor((seen.rows.end - seen.rows.start) * 0.8));
  const moves: Record<string, [number, number]> = {
    ArrowUp: [-step, 0],
    ArrowDown: [step, 0],
    ArrowLeft: [0, -step],
    ArrowRight: [0, step],
    PageUp: [-page, 0],
    PageDown: [page, 0],
    Home: [0, -map.size.cols],
    End: [0, map.size.cols],
  };
  if (event.key in moves) {
    const [down, right] = moves[event.key];
    const within = (at: number, most: number): number => Math.min(most - 1, Math.max(0, at));
    const fresh = state.from === null && state.key === null;
    const row = within((state.from ?? seen.rows.start) + (fresh ? 0 : down), map.size.rows);
    const col = within((state.key ?? seen.cols.start) + (fresh ? 0 : right), map.size.cols);
    choose(map, row, col);
    map.reveal(row, col);
    return true;
  }
  if (event.key === "+" || event.key === "=") map.zoom(1.6);
  else if (event.key === "-" || event.key === "_") map.zoom(1 / 1.6);
  else if (event.key === "0") map.go({ x: 0, y: 0, zoom: 0 });
  else if (event.key === "Enter" && state.from !== null) map.context.store.set({ view: "tokens" });
  else return false;
  return true;
}
