// All layers and heads at a glance: thumbnails of their maps, or one statistic; sortable, one press opens the map.

import { css, inkOn, number, palette, scaleOf, type Rgb } from "./colour";
import type { Context, Pane } from "./context";
import { h, select, table } from "./dom";
import { colourBar } from "./legend";
import { pictureOf, scaleFor } from "./paint";
import { thumbnailSize } from "./pyramid";
import { hasMap, type Scene, type Statistic } from "./scene";
import type { State } from "./state";

type Head = { layer: number; head: number; value: number | null; counts: boolean };

export function headsPane(context: Context): Pane {
  return new HeadsPane(context);
}

class HeadsPane implements Pane {
  readonly el: HTMLElement;
  private readonly grid = h("div", { class: "grid", role: "grid", "aria-label": "Layers and heads" });
  private readonly says = h("p", { class: "help" });
  private readonly key = h("div", { class: "legend" });
  private readonly statistic: HTMLSelectElement;
  private readonly sort: HTMLSelectElement;
  private readonly rows = h("div", { class: "scroll" });
  private readonly asTable: HTMLDetailsElement;
  private readonly watcher: IntersectionObserver;
  private cells = new Map<Element, Head>();

  constructor(private readonly context: Context) {
    const { scene, store } = context;
    const options = scene.statistics.map((one) => [one.key, one.label] as const);
    if (hasMap(scene)) options.unshift(["map", "Thumbnails of the maps"]);
    this.statistic = select("What to show", options, (value) => store.set({ statistic: value }));
    this.sort = select(
      "Order",
      [
        ["layer", "By layer"],
        ["high", "Highest first"],
        ["low", "Lowest first"],
      ] as const,
      (value) => store.set({ sort: value }),
    );
    this.asTable = h(
      "details",
      { class: "fallback", ontoggle: () => this.fillTable() },
      h("summary", {}, "The same as a table"),
      this.rows,
    );
    const bar = h(
      "div",
      { class: "controls" },
      h("label", {}, h("span", {}, "Show"), this.statistic),
      h("label", {}, h("span", {}, "Order"), this.sort),
    );
    this.el = h(
      "section",
      { class: "heads", "aria-label": "Heads" },
      bar,
      this.says,
      h("div", { class: "scroll" }, this.grid),
      this.key,
      this.asTable,
    );
    this.watcher = new IntersectionObserver((entries) =>
      entries.forEach((entry) => entry.isIntersecting && this.picture(entry.target)),
    );
    this.grid.addEventListener("keydown", (event) => this.press(event));
  }

  update(state: State, changed: Set<keyof State> | null): void {
    const again: (keyof State)[] = ["statistic", "sort", "palette"];
    if (!changed || again.some((key) => changed.has(key))) this.draw(state);
    const known = hasMap(this.context.scene);
    for (const [cell, { layer, head }] of this.cells) {
      const open = known && layer === state.layer && head === state.head;
      cell.classList.toggle("open", open);
      cell.setAttribute("aria-selected", String(open));
    }
    for (const side of this.grid.querySelectorAll<HTMLElement>(".side"))
      side.classList.toggle("open", known && side.textContent === String(state.layer));
  }

  hide(): void {
    this.watcher.disconnect();
    this.context.thumbnails.clear();
  }

  undo(): void {
    this.hide();
  }

  private chosen(state: State): Statistic | undefined {
    return this.context.scene.statistics.find((one) => one.key === state.statistic);
  }

  private draw(state: State): void {
    const statistic = this.chosen(state);
    this.statistic.value = state.statistic;
    this.sort.value = state.sort;
    this.sort.disabled = !statistic;
    this.says.textContent =
      statistic?.help ?? "The largest weight in each block of the map, without sinks. Each picture has its own scale.";
    this.watcher.disconnect();
    this.context.thumbnails.clear();
    const heads = sorted(headsOf(this.context.scene, statistic), statistic ? state.sort : "layer");
    const colours = palette(state.palette, this.context.dark());
    const top = topOf(statistic, heads);
    this.cells = new Map(heads.map((head) => [this.cell(head, statistic, colours, top), head]));
    this.lay(statistic ? state.sort : "layer", heads);
    this.grid.classList.toggle("pictures", !statistic);
    this.key.replaceChildren(...(statistic ? [legend(statistic, colours, top)] : []));
    const first = this.grid.querySelector<HTMLElement>("button");
    if (first) first.tabIndex = 0;
    this.fillTable();
  }

  private lay(sort: State["sort"], heads: Head[]): void {
    const cells = [...this.cells.keys()];
    const columns = sort === "layer" ? new Set(heads.map((head) => head.head)).size : Math.min(12, heads.length);
    this.grid.style.setProperty("--columns", String(columns));
    this.grid.classList.toggle("ranked", sort !== "layer");
    this.grid.classList.toggle("narrow", columns > 14);
    const parts: Node[] = [];
    if (sort === "layer") {
      parts.push(h("span", { class: "corner" }, "layer"));
      for (const head of heads.slice(0, columns)) parts.push(h("span", { class: "top" }, String(head.head)));
    }
    cells.forEach((cell, i) => {
      if (sort === "layer" && i % columns === 0) parts.push(h("span", { class: "side" }, String(heads[i].layer)));
      parts.push(cell);
    });
    this.grid.replaceChildren(...parts);
  }

  private cell(head: Head, statistic: Statistic | undefined, colours: Rgb[], top: number): HTMLElement {
    const name = `layer ${head.layer}, head ${head.head}`;
    const says = statistic ? `${name}: ${shown(head, statistic)}${head.counts ? "" : ", does not count"}` : name;
    const cell = h("button", {
      type: "button",
      class: "cell",
      role: "gridcell",
      tabindex: -1,
      title: says,
      "aria-label": says,
      onclick: () => this.open(head),
    });
    if (!statistic) {
      this.watcher.observe(cell);
    } else if (head.value === null) {
      cell.classList.add("unread");
    } else {
      const colour = colours[Math.round(scaleOf("linear", top).at(head.value) * (colours.length - 1))];
      cell.style.background = css(colour);
      cell.style.color = inkOn(colour);
      const named = this.context.store.state.sort !== "layer" && h("b", {}, `${head.layer}.${head.head}`);
      cell.append(...[named, h("span", {}, number(head.value))].filter((part) => !!part));
    }
    cell.classList.toggle("idle", !!statistic && !head.counts);
    return cell;
  }

  /** Draw a thumbnail that came into sight. */
  private picture(cell: Element): void {
    this.watcher.unobserve(cell);
    const head = this.cells.get(cell);
    if (!head) return;
    const { scene, thumbnails, store } = this.context;
    const size = thumbnailSize({ rows: scene.n_rows, cols: scene.n_keys });
    thumbnails.ask({ layer: head.layer, head: head.head }, ({ values }) => {
      const picture = pictureOf(
        values,
        size,
        scaleFor("linear", [values]),
        palette(store.state.palette, this.context.dark()),
      );
      cell.replaceChildren(picture);
    });
  }

  private open(head: Head): void {
    const { scene, store } = this.context;
    const known = hasMap(scene) && scene.layers.includes(head.layer) && scene.heads.includes(head.head);
    if (known) store.set({ layer: head.layer, head: head.head, view: "map" });
  }

  private press(event: KeyboardEvent): void {
    const cells = [...this.cells.keys()] as HTMLElement[];
    const at = cells.indexOf(document.activeElement as HTMLElement);
    const columns = Number(this.grid.style.getPropertyValue("--columns"));
    const step = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
      Home: -at,
      End: cells.length - 1 - at,
    }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    const next = cells[Math.min(cells.length - 1, Math.max(0, at + step))];
    cells[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  private fillTable(): void {
    const statistic = this.chosen(this.context.store.state);
    this.asTable.hidden = !statistic;
    if (!this.asTable.open || !statistic) return;
    const heads = [...this.cells.values()];
    this.rows.replaceChildren(
      table(
        statistic.label,
        ["layer and head", statistic.unit || "value"],
        heads.map((head) => [`layer ${head.layer}, head ${head.head}`, shown(head, statistic)]),
      ),
    );
  }
}

function headsOf(scene: Scene, statistic: Statistic | undefined): Head[] {
  const layers = statistic?.layers ?? scene.layers;
  const heads = statistic?.heads ?? scene.heads;
  return layers.flatMap((layer, i) =>
    heads.map((head, j) => ({
      layer,
      head,
      value: statistic?.values[i]?.[j] ?? null,
      counts: !statistic?.weights || (statistic.weights[i]?.[j] ?? 0) !== 0,
    })),
  );
}

/** Heads by value; those without one come last. */
export function sorted(heads: Head[], sort: State["sort"]): Head[] {
  if (sort === "layer") return heads;
  const sign = sort === "high" ? -1 : 1;
  return [...heads].sort((a, b) => (a.value === null ? 1 : b.value === null ? -1 : sign * (a.value - b.value)));
}

function topOf(statistic: Statistic | undefined, heads: Head[]): number {
  return statistic?.unit === "share" ? 1 : Math.max(0, ...heads.map((head) => head.value ?? 0));
}

function shown(head: Head, statistic: Statistic): string {
  if (head.value === null) return "not read";
  return number(head.value) + (statistic.unit && statistic.unit !== "share" ? ` ${statistic.unit}` : "");
}

function legend(statistic: Statistic, colours: Rgb[], top: number): HTMLElement {
  const unit = statistic.unit === "share" ? "" : ` ${statistic.unit}`;
  const marks = [
    { at: 0, text: statistic.low ? `0: ${statistic.low}` : "0" },
    { at: 1, text: statistic.high ? `${number(top)}: ${statistic.high}` : number(top) + unit },
  ];
  const faded = statistic.weights ? h("p", {}, "Faded: heads that the result does not rest on.") : null;
  return h("div", {}, colourBar(statistic.label, colours, marks), faded);
}
