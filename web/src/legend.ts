// A bar of colours with what its places mean.

import { css, type Rgb } from "./colour";
import { h } from "./dom";

export type Mark = { at: number; text: string };

/** A legend: its name, the colours from low to high, and marks at places in [0, 1]; the first and last are its ends. */
export function colourBar(name: string, colours: Rgb[], marks: Mark[]): HTMLElement {
  const strip = h("div", { class: "strip" });
  strip.style.background = `linear-gradient(90deg, ${colours
    .filter((_, i) => i % 15 === 0)
    .map(css)
    .join(",")})`;
  const ticks = h("div", { class: "ticks" });
  for (const { at, text } of marks) {
    const tick = h("span", {}, text);
    tick.style.left = `${100 * at}%`;
    ticks.append(tick);
  }
  const says = `Colours: ${name}, from ${marks[0].text} to ${marks.at(-1)!.text}`;
  return h(
    "div",
    { class: "bar", role: "img", "aria-label": says },
    h("span", { class: "name" }, name),
    h("div", { class: "scale" }, strip, ticks),
  );
}
