// The margins of the map: token labels as room allows, named spans as brackets, marks of search and choice.

import type { Port } from "./viewport";
import { labelled } from "./viewport";
import type { Stretch } from "./pyramid";
import { rowToken, type Scene } from "./scene";
import { count, label } from "./words";

export const LEFT = 128;
export const TOP = 106;
const TEXT_PIXELS = 11;
const ROOM_FOR_TOKENS = 10.5;

/** Colours of named spans, in order (Okabe & Ito 2008), readable on light and dark. */
export const SPAN_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800"];

export type Look = { text: string; muted: string; accent: string; font: string };
export type Marked = { rows: Stretch | null; key: number | null; hits: Set<number> };

/** Draw both margins; the plot begins at (LEFT, TOP). */
export function drawAxes(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  port: Port,
  seen: { rows: Stretch; cols: Stretch },
  marked: Marked,
  look: Look,
): void {
  const offset = scene.row_tokens ? null : (scene.row_offset ?? 0);
  const special = new Set(scene.special ?? []);
  pen.textBaseline = "middle";
  pen.direction = "ltr";
  along(pen, seen.rows, port.y, port.zoom, {
    name: (row) => named(rowToken(scene, row), row + (offset ?? 0), port.zoom),
    tone: (row) =>
      tone(
        look,
        !!marked.rows && row >= marked.rows.start && row < marked.rows.end,
        marked.hits.has(row + (offset ?? 0)),
        special.has(row + (offset ?? 0)),
      ),
    place: (at) => [LEFT - 12, TOP + at, 0],
    font: look.font,
  });
  along(pen, seen.cols, port.x, port.zoom, {
    name: (key) => named(scene.tokens[key], key, port.zoom),
    tone: (key) => tone(look, marked.key === key, marked.hits.has(key), special.has(key)),
    place: (at) => [LEFT + at, TOP - 12, -Math.PI / 2],
    font: look.font,
  });
  drawSpans(pen, scene, port, seen, offset);
}

type Side = {
  name(at: number): string;
  tone(at: number): { colour: string; bold: boolean };
  /** Where the label of the entry whose middle is `at` pixels along touches the plot, and its turn. */
  place(at: number): [number, number, number];
  font: string;
};

function along(pen: CanvasRenderingContext2D, cut: Stretch, first: number, zoom: number, side: Side): void {
  const places = zoom >= ROOM_FOR_TOKENS ? labelled(cut, zoom, 1) : labelled(cut, zoom, 26);
  for (const at of places) {
    if (at + 0.5 < first) continue; // its middle is off the plot
    const [x, y, turn] = side.place((at + 0.5 - first) * zoom);
    const { colour, bold } = side.tone(at);
    pen.save();
    pen.translate(x, y);
    pen.rotate(turn);
    pen.textAlign = turn ? "left" : "right";
    pen.font = `${bold ? "600 " : ""}${TEXT_PIXELS}px ${side.font}`;
    pen.fillStyle = colour;
    pen.fillText(side.name(at), 0, 0.5);
    pen.restore();
  }
}

/** The token where there is room for all, else its position. */
function named(token: string, at: number, zoom: number): string {
  return zoom >= ROOM_FOR_TOKENS ? label(token, 14) : count(at);
}

function tone(look: Look, chosen: boolean, hit: boolean, muted: boolean): { colour: string; bold: boolean } {
  return { colour: chosen || hit ? look.accent : muted ? look.muted : look.text, bold: chosen || hit };
}

function drawSpans(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  port: Port,
  seen: { rows: Stretch; cols: Stretch },
  offset: number | null,
): void {
  scene.spans.forEach((span, i) => {
    pen.fillStyle = SPAN_COLOURS[i % SPAN_COLOURS.length];
    const cols = cut(span, seen.cols, 0);
    if (cols) pen.fillRect(LEFT + (cols.start - port.x) * port.zoom, TOP - 7, (cols.end - cols.start) * port.zoom, 4);
    const rows = offset === null ? null : cut(span, seen.rows, offset);
    if (rows) pen.fillRect(LEFT - 7, TOP + (rows.start - port.y) * port.zoom, 4, (rows.end - rows.start) * port.zoom);
  });
}

function cut(span: Stretch, seen: Stretch, offset: number): Stretch | null {
  const start = Math.max(span.start - offset, seen.start);
  const end = Math.min(span.end - offset, seen.end);
  return end > start ? { start, end } : null;
}
