// Layer by layer: how the attention of each named span is shared among spans, and the rollout through all layers.

import { SPAN_COLOURS } from "./axes";
import { number } from "./colour";
import type { Context, Pane } from "./context";
import { h, select, svg, table } from "./dom";
import { MEAN, type Cell, type Flow } from "./scene";
import type { State } from "./state";
import { count } from "./words";

const HIGH = 150;
const LEFT = 34;

export function flowPane(context: Context): Pane {
  return new FlowPane(context);
}

class FlowPane implements Pane {
  readonly el: HTMLElement;
  private readonly panels = h("div", { class: "panels" });
  private readonly says = h("p", { class: "help" });
  private readonly what: HTMLSelectElement;
  private readonly flow: Flow;

  constructor(private readonly context: Context) {
    this.flow = context.scene.flow!;
    const options: (readonly [State["flow"], string])[] = [
      ["heads", "Mean of all heads"],
      ["head", "The chosen head"],
    ];
    if (this.flow.rollout) options.push(["rollout", "Rollout from the first layer"]);
    this.what = select("What to show", options, (value) => context.store.set({ flow: value }));
    const keys = h(
      "div",
      { class: "keys" },
      ...this.flow.names.map((name, i) => key(name, colourOf(i))),
      key("outside", "var(--track)"),
    );
    const bar = h("div", { class: "controls" }, h("label", {}, h("span", {}, "Show"), this.what), keys);
    this.el = h("section", { class: "flow", "aria-label": "Flow" }, bar, this.says, this.panels);
  }

  update(state: State, changed: Set<keyof State> | null): void {
    const again: (keyof State)[] = ["flow", "layer", "head"];
    if (changed && !again.some((key) => changed.has(key))) return;
    this.what.value = state.flow;
    const { rows_read, rows_total } = this.flow;
    const rows = rows_read < rows_total ? ` From ${count(rows_read)} of ${count(rows_total)} rows.` : "";
    this.says.textContent = explain(state) + rows;
    this.panels.replaceChildren(...this.flow.names.map((name, i) => this.panel(name, this.shares(i, state))));
  }

  undo(): void {
    this.panels.replaceChildren();
  }

  /** [layer][span] for the rows of span `from`; null where there is nothing. */
  private shares(from: number, state: State): (Cell[] | null)[] {
    const { mass, rollout, names } = this.flow;
    return this.context.scene.layers.map((_, layer) => {
      if (state.flow === "rollout") return rollout?.[layer]?.[from] ?? null;
      const place = this.context.scene.heads.indexOf(state.head);
      if (state.flow === "head" && place >= 0) return mass[layer]?.[place]?.[from] ?? null;
      return names.map((_, to) => meanOf((mass[layer] ?? []).map((head) => head[from]?.[to] ?? null)));
    });
  }

  private panel(name: string, shares: (Cell[] | null)[]): HTMLElement {
    const { layers } = this.context.scene;
    const caption = h("figcaption", {}, "Where ", h("b", {}, name), " looks");
    const empty = shares.every((layer) => !layer || layer.every((cell) => cell === null));
    if (empty) return h("figure", { class: "card" }, caption, h("p", {}, "No row of it sees anything."));
    const lines = layers.map((layer, i) => [
      `layer ${layer}`,
      ...this.flow.names.map((_, to) => number(shares[i]?.[to] ?? NaN)),
    ]);
    return h(
      "figure",
      { class: "card" },
      caption,
      this.bars(name, shares),
      h(
        "details",
        { class: "fallback" },
        h("summary", {}, "As a table"),
        table(`Where ${name} looks`, ["", ...this.flow.names], lines),
      ),
    );
  }

  private bars(name: string, shares: (Cell[] | null)[]): SVGElement {
    const { scene, store } = this.context;
    const wide = Math.min(26, Math.max(5, Math.floor(390 / shares.length)));
    const width = LEFT + wide * shares.length + 4;
    const drawing = svg("svg", {
      viewBox: `0 0 ${width} ${HIGH + 36}`,
      width,
      role: "group",
      "aria-label": `Where ${name} looks, one bar for each layer`,
    });
    for (const at of [0, 0.5, 1])
      drawing.append(
        svg(
          "text",
          { class: "axis", x: LEFT - 6, y: 8 + HIGH * (1 - at) + 3.5, "text-anchor": "end" },
          at === 0.5 ? "½" : String(at),
        ),
      );
    shares.forEach((layer, i) => {
      const x = LEFT + i * wide;
      const chosen = scene.layers[i] === store.state.layer;
      const says = `layer ${scene.layers[i]}: ${layer ? this.flow.names.map((span, to) => `${span} ${number(layer[to] ?? NaN)}`).join(", ") : "nothing"}`;
      const group = svg("g", {
        role: "button",
        tabindex: chosen ? 0 : -1,
        class: chosen ? "open" : null,
        "aria-label": says,
        onclick: () => store.set({ layer: scene.layers[i] }),
        onkeydown: (event: KeyboardEvent) => this.press(event, i),
      });
      group.append(svg("title", {}, says), ...stack(layer, x, wide));
      if (chosen)
        group.append(svg("rect", { class: "frame", x: x - 0.5, y: 6, width: wide - 1, height: HIGH + 4, rx: 2 }));
      drawing.append(group);
      if (i % Math.ceil(22 / wide) === 0)
        drawing.append(
          svg(
            "text",
            { class: "axis", x: x + wide / 2 - 1, y: HIGH + 24, "text-anchor": "middle" },
            String(scene.layers[i]),
          ),
        );
    });
    return drawing;
  }

  private press(event: KeyboardEvent, at: number): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { layers } = this.context.scene;
    const next = layers[Math.min(layers.length - 1, Math.max(0, at + (step ?? 0)))];
    if (step === undefined) return;
    event.preventDefault();
    const panel = [...this.panels.children].findIndex((child) => child.contains(event.target as Node));
    this.context.store.set({ layer: next });
    this.panels.children[panel]?.querySelector<SVGElement>("g.open")?.focus();
  }
}

function stack(shares: Cell[] | null, x: number, wide: number): SVGElement[] {
  let y = 8 + HIGH;
  const parts: SVGElement[] = [svg("rect", { x, y: 8, width: wide - 2, height: HIGH, fill: "var(--track)" })];
  (shares ?? []).forEach((share, to) => {
    const high = Math.max(0, Math.min(1, share ?? 0)) * HIGH;
    y -= high;
    if (high > 0) parts.push(svg("rect", { x, y, width: wide - 2, height: high, fill: colourOf(to) }));
  });
  return parts;
}

function explain(state: State): string {
  if (state.flow === "rollout")
    return "Rollout (Abnar & Zuidema 2020): attention followed back through all layers up to each one, half of every step staying where it is, as the residual stream does.";
  const who = state.flow === "head" && state.head !== MEAN ? `head ${state.head}` : "the mean of all heads";
  return `Of the attention of a span's rows, the share that goes to each span: ${who}, layer by layer. The rest goes outside the named spans.`;
}

function meanOf(cells: Cell[]): Cell {
  const known = cells.filter((cell): cell is number => cell !== null);
  return known.length ? known.reduce((sum, cell) => sum + cell, 0) / known.length : null;
}

function colourOf(span: number): string {
  return SPAN_COLOURS[span % SPAN_COLOURS.length];
}

function key(name: string, colour: string): HTMLElement {
  const dot = h("i", {});
  dot.style.background = colour;
  return h("span", {}, dot, name);
}
