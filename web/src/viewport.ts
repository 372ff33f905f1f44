// Where the map is on screen: pan and zoom as arithmetic on "first row, first key, pixels of one entry". Pure.

import type { Size, Stretch } from "./pyramid";

export type Port = { x: number; y: number; zoom: number };
export type Plot = { width: number; height: number };

/** Pixels of one entry at which tokens can be told apart with ease; no need to go nearer. */
export const NEAREST = 48;

/** Pixels of one entry at which the whole map is on screen. */
export function fit(map: Size, plot: Plot): number {
  return Math.min(NEAREST, plot.width / map.cols, plot.height / map.rows);
}

/** The nearest port that shows as much map as there is. Zoom 0 means: all of it. */
export function clamped(port: Port, map: Size, plot: Plot): Port {
  const least = fit(map, plot);
  const zoom = Math.min(NEAREST, Math.max(least, port.zoom));
  const within = (first: number, count: number, pixels: number): number =>
    Math.max(0, Math.min(first, count - pixels / zoom));
  return { zoom, x: within(port.x, map.cols, plot.width), y: within(port.y, map.rows, plot.height) };
}

/** Zoom so that the entry under a pixel of the plot stays there. */
export function zoomed(port: Port, factor: number, px: number, py: number, map: Size, plot: Plot): Port {
  const zoom = Math.min(NEAREST, Math.max(fit(map, plot), port.zoom * factor));
  return clamped({ zoom, x: port.x + px / port.zoom - px / zoom, y: port.y + py / port.zoom - py / zoom }, map, plot);
}

/** The entries on screen, whole ones. */
export function visible(port: Port, map: Size, plot: Plot): { rows: Stretch; cols: Stretch } {
  const span = (first: number, pixels: number, count: number): Stretch => ({
    start: Math.max(0, Math.floor(first)),
    end: Math.min(count, Math.ceil(first + pixels / port.zoom)),
  });
  return { rows: span(port.y, plot.height, map.rows), cols: span(port.x, plot.width, map.cols) };
}

/** The entry under a pixel of the plot, or null beside the map. */
export function entryAt(port: Port, px: number, py: number, map: Size): { row: number; col: number } | null {
  const row = Math.floor(port.y + py / port.zoom);
  const col = Math.floor(port.x + px / port.zoom);
  return px >= 0 && py >= 0 && row >= 0 && col >= 0 && row < map.rows && col < map.cols ? { row, col } : null;
}

/** The least move that brings an entry on screen, with a margin of entries around it. */
export function reveal(port: Port, row: number, col: number, map: Size, plot: Plot): Port {
  const along = (first: number, at: number, pixels: number): number => {
    const room = pixels / port.zoom;
    const margin = Math.min(2, (room - 1) / 2);
    return Math.min(at - margin, Math.max(first, at + 1 + margin - room));
  };
  return clamped({ zoom: port.zoom, x: along(port.x, col, plot.width), y: along(port.y, row, plot.height) }, map, plot);
}

/** Positions to label so that labels stand `room` pixels apart: 1, 2 or 5 times a power of ten. */
export function labelled(cut: Stretch, zoom: number, room: number): number[] {
  const least = room / zoom;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  const step = least <= 1 ? 1 : [1, 2, 5, 10].map((part) => part * power).find((part) => part >= least)!;
  const found: number[] = [];
  for (let at = Math.ceil(cut.start / step) * step; at < cut.end; at += step) found.push(at);
  return found;
}
