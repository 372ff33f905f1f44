// Tiles as pictures: weights through scale and palette into small canvases, kept until either changes.

import { scaleOf, type Rgb, type Scale, type ScaleName } from "./colour";
import type { Size } from "./pyramid";

const KEPT = 64;
const SAMPLE = 40_000;

/** Pixels of weights; hidden entries are transparent. */
export function pixelsOf(values: Float32Array, scale: Scale, colours: Rgb[]): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(4 * values.length);
  const last = colours.length - 1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== value) continue;
    const colour = colours[Math.round(scale.at(value) * last)];
    pixels[4 * i] = colour[0];
    pixels[4 * i + 1] = colour[1];
    pixels[4 * i + 2] = colour[2];
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

/** A canvas of one pixel for each weight. */
export function pictureOf(values: Float32Array, size: Size, scale: Scale, colours: Rgb[]): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = size.cols;
  canvas.height = size.rows;
  const context = canvas.getContext("2d");
  if (context && values.length)
    context.putImageData(new ImageData(pixelsOf(values, scale, colours), size.cols, size.rows), 0, 0);
  return canvas;
}

export function largest(values: Float32Array): number {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}

/** The scale for some tiles; ranks are taken among an even sample of them. */
export function scaleFor(name: ScaleName, tiles: Float32Array[], atLeast = 0): Scale {
  const top = tiles.reduce((most, tile) => Math.max(most, largest(tile)), atLeast);
  if (name !== "rank") return scaleOf(name, top);
  const total = tiles.reduce((sum, tile) => sum + tile.length, 0);
  const step = Math.max(1, Math.floor(total / SAMPLE));
  return scaleOf(
    name,
    top,
    tiles.flatMap((tile) => Array.from({ length: Math.ceil(tile.length / step) }, (_, i) => tile[i * step])),
  );
}

/** Pictures of tiles under one scale and palette at a time. */
export class Pictures {
  private readonly kept = new Map<Float32Array, HTMLCanvasElement>();
  private colouring = "";

  /** Start over if the colours are others than before. */
  use(colouring: string): void {
    if (colouring === this.colouring) return;
    this.colouring = colouring;
    this.kept.clear();
  }

  get(values: Float32Array, size: Size, scale: Scale, colours: Rgb[]): HTMLCanvasElement {
    let picture = this.kept.get(values);
    if (!picture) picture = pictureOf(values, size, scale, colours);
    this.kept.delete(values);
    this.kept.set(values, picture);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value!);
    return picture;
  }
}
