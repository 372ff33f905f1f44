// The controls of the map: scale, palette, what coarse cells are made of, zoom.

import { h, select } from "./dom";
import type { MapPane } from "./map";
import { levelsOf } from "./pyramid";

export function mapBar(map: MapPane): HTMLElement {
  const { store, scene } = map.context;
  const bar = h("div", { class: "controls", role: "toolbar", "aria-label": "Map settings" });
  const labelled = (text: string, control: HTMLElement): HTMLElement => h("label", {}, h("span", {}, text), control);
  const scale = select(
    "Colour scale",
    [
      ["linear", "Linear"],
      ["log", "Logarithmic"],
      ["rank", "Rank"],
    ] as const,
    (value) => store.set({ scale: value }),
  );
  const palette = select(
    "Colours",
    [
      ["viridis", "Viridis"],
      ["cividis", "Cividis"],
      ["ink", "Ink"],
    ] as const,
    (value) => store.set({ palette: value }),
  );
  bar.append(labelled("Scale", scale), labelled("Colours", palette));
  const aggregate = select(
    "Coarse cells",
    [
      ["max", "Max"],
      ["mean", "Mean"],
    ] as const,
    (value) => store.set({ aggregate: value }),
  );
  if (scene.aggregates.length > 1 && levelsOf(map.size) > 1) bar.append(labelled("Coarse cells", aggregate));
  bar.append(
    h(
      "div",
      { class: "group", role: "group", "aria-label": "Zoom" },
      h(
        "button",
        { type: "button", "aria-label": "Zoom out", title: "Zoom out (−)", onclick: () => map.zoom(1 / 1.6) },
        "−",
      ),
      h(
        "button",
        { type: "button", title: "Show the whole map (0)", onclick: () => map.go({ x: 0, y: 0, zoom: 0 }) },
        "Fit",
      ),
      h("button", { type: "button", "aria-label": "Zoom in", title: "Zoom in (+)", onclick: () => map.zoom(1.6) }, "+"),
    ),
  );
  const show = (): void => {
    const { state } = store;
    scale.value = state.scale;
    palette.value = state.palette;
    aggregate.value = state.aggregate;
  };
  show();
  store.on(show);
  return bar;
}
