import { expect, test } from "vitest";
import { inkOn, luminance, number, palette, scaleOf, ticksOf, type PaletteName } from "../src/colour";

const names: [PaletteName, boolean][] = [
  ["viridis", false],
  ["cividis", false],
  ["ink", false],
  ["ink", true],
];

test.each(names)("%s grows evenly in lightness (dark: %s)", (name, dark) => {
  const lightness = palette(name, dark).map((colour) => 116 * Math.cbrt(luminance(colour)) - 16);
  const sign = Math.sign(lightness[255] - lightness[0]);
  const steps = lightness.slice(1).map((value, i) => sign * (value - lightness[i]));
  expect(Math.min(...steps)).toBeGreaterThan(-0.2);
  expect(Math.abs(lightness[255] - lightness[0])).toBeGreaterThan(60);
});

test("ends are the published ones", () => {
  expect(palette("viridis", false)[0]).toEqual([68, 1, 84]);
  expect(palette("viridis", true)[255]).toEqual([253, 231, 37]);
});

test("text on a colour is readable", () => {
  for (const [name, dark] of names)
    for (const colour of palette(name, dark)) {
      const ink = inkOn(colour) === "#000" ? 0 : 1;
      const [high, low] = [Math.max(ink, luminance(colour)), Math.min(ink, luminance(colour))];
      expect((high + 0.05) / (low + 0.05)).toBeGreaterThan(4.5);
    }
});

test("linear and log scales", () => {
  expect(scaleOf("linear", 0.5).at(0.25)).toBe(0.5);
  expect(scaleOf("linear", 0.5).at(2)).toBe(1);
  expect(scaleOf("log", 1).at(0.01)).toBeCloseTo(0.5);
  expect(scaleOf("log", 1).at(0)).toBe(0);
  expect(scaleOf("linear", 0).at(0)).toBe(0);
});

test("a rank scale gives equal steps whatever the values, and ties the same place", () => {
  const scale = scaleOf("rank", 1, [0.9, NaN, 1e-9, 1e-3, 0.5, 0.5]);
  expect([1e-9, 1e-3, 0.5, 0.9].map((value) => scale.at(value))).toEqual([0, 0.25, 0.625, 1]);
});

test("ticks stand inside the scale, ascending", () => {
  for (const name of ["linear", "log", "rank"] as const)
    for (const top of [1, 0.51, 3e-5]) {
      const places = ticksOf(scaleOf(name, top, [0, top])).map((tick) => tick.at);
      expect(places).toEqual([...places].sort((a, b) => a - b));
      expect(places[0]).toBe(0);
      expect(places.at(-1)).toBeCloseTo(1);
    }
});

test("numbers as a reader wants them", () => {
  expect([0, 1, 0.5123, 0.0123456, 0.000012, NaN, 345.6].map(number)).toEqual([
    "0",
    "1.00",
    "0.512",
    "0.0123",
    "1.2e−5",
    "–",
    "346",
  ]);
});
