// Weights into colours: palettes that grow evenly in lightness (also without colour vision) and three scales. Pure.

export type ScaleName = "linear" | "log" | "rank";
export type PaletteName = "viridis" | "cividis" | "ink";
export type Rgb = readonly [number, number, number];

/** Ten points of each: viridis (Smith & van der Walt 2015), cividis (Nuñez, Anderton & Renslow 2018). */
const POINTS: Record<"viridis" | "cividis" | "ink" | "inkDark", string> = {
  viridis: "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6dcd59 b4de2c fde725",
  cividis: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
  ink: "f3f6fb dbe6f4 bcd2ec 98bbe2 719fd4 4a82c2 2e66aa 1b4c8a 0e3468 061d42",
  inkDark: "10161f 15233a 1a3357 204778 2a5f9b 3f7cbb 629bd2 8fbae4 bfd8f2 f0f7ff",
};
const STEPS = 256;
/** A log scale ends at this part of the largest value. */
export const DECADES = 4;

/** Colours of 256 equal steps from 0 to 1. */
export function palette(name: PaletteName, dark: boolean): Rgb[] {
  const points = POINTS[name === "ink" && dark ? "inkDark" : name].split(" ").map(rgb);
  return Array.from({ length: STEPS }, (_, step) => {
    const at = (step / (STEPS - 1)) * (points.length - 1);
    const low = Math.min(points.length - 2, Math.floor(at));
    return [0, 1, 2].map((c) =>
      Math.round(points[low][c] + (points[low + 1][c] - points[low][c]) * (at - low)),
    ) as unknown as Rgb;
  });
}

export function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}

/** Relative luminance in [0, 1] (WCAG 2.2). */
export function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((c) => (c <= 10.31475 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Black or white, whichever is easier to read on a colour. */
export function inkOn(colour: Rgb): "#000" | "#fff" {
  return luminance(colour) > 0.179 ? "#000" : "#fff";
}

/** From a weight to its place in [0, 1] on the palette. */
export type Scale = { name: ScaleName; top: number; at(value: number): number };

/**
 * A scale up to `top`, the largest value it must show. `sample` is what a rank scale takes ranks among.
 */
export function scaleOf(name: ScaleName, top: number, sample: ArrayLike<number> = []): Scale {
  const safe = top > 0 ? top : 1;
  const clamp = (x: number): number => Math.min(1, Math.max(0, x));
  if (name === "log") return { name, top: safe, at: (value) => clamp(1 + Math.log10(value / safe) / DECADES) };
  if (name === "linear") return { name, top: safe, at: (value) => clamp(value / safe) };
  const sorted = Float32Array.from(sample)
    .filter((value) => value === value)
    .sort();
  return { name, top: safe, at: (value) => shareBelow(sorted, Math.fround(value)) };
}

/** The values a legend names, from low to high, and where they stand in [0, 1]. */
export function ticksOf(scale: Scale): { at: number; value: number | null; text: string }[] {
  if (scale.name === "rank") return [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, value: null, text: `${100 * at} %` }));
  const values = scale.name === "linear" ? [0, 0.25, 0.5, 0.75, 1].map((part) => part * scale.top) : decades(scale.top);
  return values.map((value, i) => ({
    at: scale.at(value),
    value,
    text: (scale.name === "log" && i === 0 ? "≤ " : "") + brief(value),
  }));
}

/** A weight as a reader wants it: three digits, small ones as 4.1e-6. */
export function number(value: number): string {
  if (value !== value) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.0005) return value.toExponential(1).replace("e-", "e−");
  return size >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** The lower end of a log scale, the powers of ten inside it that leave room for the ends, and its top. */
function decades(top: number): number[] {
  const low = top * 10 ** -DECADES;
  const first = Math.ceil(Math.log10(low) + 0.4);
  const powers = Array.from({ length: DECADES + 1 }, (_, i) => 10 ** (first + i)).filter(
    (value) => value < top * 10 ** -0.4,
  );
  return [low, ...powers, top];
}

/** A number without the zeros that end it. */
function brief(value: number): string {
  return number(value)
    .replace(/(\.\d*?)0+($|e)/, "$1$2")
    .replace(/\.($|e)/, "$1");
}

/** The middle of the ranks of a value among sorted ones, in [0, 1]. */
function shareBelow(sorted: Float32Array, value: number): number {
  if (sorted.length < 2) return value > 0 ? 1 : 0;
  const below = bound(sorted, (other) => other < value);
  const upTo = bound(sorted, (other) => other <= value);
  return Math.min(1, (below + upTo - (upTo > below ? 1 : 0)) / 2 / (sorted.length - 1));
}

function bound(sorted: Float32Array, before: (other: number) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

function rgb(hex: string): Rgb {
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;
}
