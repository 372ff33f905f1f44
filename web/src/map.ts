// The map: tokens × tokens of one head, panned and zoomed; where it is, is part of the state.

import { drawAxes, LEFT, TOP, type Look } from "./axes";
import { ticksOf, type Scale } from "./colour";
import { paletteOf, type Context, type Pane } from "./context";
import { h } from "./dom";
import { colourBar } from "./legend";
import { placeKey, type Place, type Tiles } from "./loader";
import { mapBar } from "./mapbar";
import { hints } from "./maphint";
import { hand } from "./maphand";
import { mapTable } from "./maptable";
import { Pictures, scaleFor } from "./paint";
import { levelFor, levelsOf, parentOf, SIDE, sizeOf, tilesIn, type Size, type Stretch } from "./pyramid";
import { isExact } from "./source";
import type { State } from "./state";
import { clamped, fit, reveal, visible, zoomed, type Plot, type Port } from "./viewport";
import { capital, count, find } from "./words";

/** What a look at the map needs to know of how it is drawn right now. */
export type Sight = { port: Port; plot: Plot; level: number; seen: { rows: Stretch; cols: Stretch } };

export function mapPane(context: Context): Pane {
  return new MapPane(context);
}

export class MapPane implements Pane {
  readonly el: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly size: Size;
  private readonly tiles: Tiles;
  private readonly pictures = new Pictures();
  private readonly legend = h("div", { class: "legend" });
  private readonly undos: (() => void)[] = [];
  private readonly tops = new Map<string, number>();
  private plot: Plot = { width: 1, height: 1 };
  private frame = 0;
  private hits = new Set<number>();
  private legendSays = "";

  constructor(readonly context: Context) {
    const { scene } = context;
    this.size = { rows: scene.n_rows, cols: scene.n_keys };
    this.tiles = context.tiles(() => this.redraw());
    this.canvas = h("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "zoomable heat map",
      "aria-label": "Attention map. Rows attend to columns. Arrow keys move, plus and minus zoom, 0 shows all.",
    });
    const stage = h("div", { class: "stage" }, this.canvas);
    const hint = hints(this, stage);
    const asTable = mapTable(this);
    this.el = h("section", { class: "map", "aria-label": "Map" }, mapBar(this), stage, this.legend, asTable.el);
    this.undos.push(hint, asTable.undo, hand(this), this.follow(stage));
  }

  /** Where the map is now. */
  sight(): Sight {
    const { x, y, zoom } = this.context.store.state;
    const port = clamped({ x, y, zoom }, this.size, this.plot);
    const seen = visible(port, this.size, this.plot);
    return { port, plot: this.plot, seen, level: levelFor(this.size, port.zoom * pixelRatio()) };
  }

  place(level: number, row: number, col: number): Place {
    const { layer, head, aggregate, sinks } = this.context.store.state;
    return { layer, head, level, row, col, aggregate, sinks };
  }

  /** The weight at an entry, or of the block it is in; undefined while it is not loaded. */
  valueAt(row: number, col: number, level: number): number | undefined {
    const side = 2 ** level;
    const cell = { row: Math.floor(row / side), col: Math.floor(col / side) };
    const place = this.place(level, Math.floor(cell.row / SIDE), Math.floor(cell.col / SIDE));
    const tile = this.tiles.get(place);
    return tile?.values[(cell.row % SIDE) * sizeOf(this.size, place).cols + (cell.col % SIDE)];
  }

  go(port: Port): void {
    const next = clamped(port, this.size, this.plot);
    const whole = next.zoom <= fit(this.size, this.plot) * 1.0001;
    this.context.store.set(whole ? { x: 0, y: 0, zoom: 0 } : next);
  }

  zoom(factor: number, px = this.plot.width / 2, py = this.plot.height / 2): void {
    this.go(zoomed(this.sight().port, factor, px, py, this.size, this.plot));
  }

  reveal(row: number, col: number): void {
    this.go(reveal(this.sight().port, row, col, this.size, this.plot));
  }

  update(state: State, changed: Set<keyof State> | null): void {
    if (!changed || changed.has("query")) this.hits = new Set(find(this.context.scene.tokens, state.query));
    const measured = this.plot.width > 1;
    if (measured && (!changed || changed.has("from")) && state.from !== null)
      this.reveal(state.from, state.key ?? this.sight().seen.cols.start);
    this.redraw();
  }

  hide(): void {
    this.tiles.want([]);
  }

  undo(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.tiles.stop();
    this.undos.forEach((undo) => undo());
  }

  redraw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.el.isConnected && this.canvas.clientWidth) this.draw();
    });
  }

  private follow(stage: HTMLElement): () => void {
    const measure = (): void => {
      const width = stage.clientWidth;
      if (!width) return;
      const height = Math.max(200, stage.clientHeight);
      const wide = Math.round(width * pixelRatio());
      const high = Math.round(height * pixelRatio());
      if (this.canvas.width === wide && this.canvas.height === high && this.plot.width > 1) return;
      Object.assign(this.canvas, { width: wide, height: high }); // this clears it
      this.plot = { width: width - LEFT - 4, height: height - TOP - 4 };
      this.draw();
    };
    const observer = new ResizeObserver(measure);
    observer.observe(stage);
    return () => observer.disconnect();
  }

  private draw(): void {
    const pen = this.canvas.getContext("2d");
    if (!pen) return;
    const sight = this.sight();
    const places = tilesIn(this.size, sight.level, sight.seen.rows, sight.seen.cols).map((t) =>
      this.place(t.level, t.row, t.col),
    );
    const overview = this.place(levelsOf(this.size) - 1, 0, 0);
    this.tiles.want([...places, overview]);
    const scale = this.scale(places, overview);
    const style = getComputedStyle(this.el);
    const ratio = pixelRatio();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawPlot(pen, sight, places, scale, style);
    drawAxes(pen, this.context.scene, sight.port, sight.seen, this.marked(), lookOf(style));
    this.drawLegend(scale, sight, places);
  }

  private scale(places: Place[], overview: Place): Scale {
    const { scale, aggregate } = this.context.store.state;
    const used = aggregate === "max" ? [overview, ...places] : places;
    const values = used.flatMap((place) => this.tiles.get(place)?.values ?? []);
    const { layer, head, sinks, level } = places[0] ?? overview;
    const key = [layer, head, sinks, aggregate, aggregate === "max" ? "" : level].join("/");
    const made = scaleFor(scale, values, this.tops.get(key) ?? 0);
    if (values.length) this.tops.set(key, made.top);
    return made;
  }

  private drawPlot(
    pen: CanvasRenderingContext2D,
    sight: Sight,
    places: Place[],
    scale: Scale,
    style: CSSStyleDeclaration,
  ): void {
    const { port, plot } = sight;
    pen.save();
    pen.beginPath();
    pen.rect(
      LEFT,
      TOP,
      Math.min(plot.width, (this.size.cols - port.x) * port.zoom),
      Math.min(plot.height, (this.size.rows - port.y) * port.zoom),
    );
    pen.clip();
    pen.fillStyle = style.getPropertyValue("--hidden");
    pen.fillRect(LEFT, TOP, plot.width, plot.height);
    pen.imageSmoothingEnabled = false;
    const colours = paletteOf(this.context);
    const { state } = this.context.store;
    this.pictures.use(
      [
        state.palette,
        this.context.dark(),
        scale.name,
        scale.top,
        scale.name === "rank" ? places.map(placeKey) + String(this.tiles.pending) : "",
      ].join(),
    );
    for (const place of places) this.drawTile(pen, sight, place, scale, colours);
    this.drawChoice(pen, sight, style);
    pen.restore();
  }

  /** A tile, or what is known of its place from the next coarser one that is there. */
  private drawTile(
    pen: CanvasRenderingContext2D,
    { port }: Sight,
    place: Place,
    scale: Scale,
    colours: ReturnType<typeof paletteOf>,
  ): void {
    let known: Place = place;
    while (!this.tiles.get(known) && known.level < levelsOf(this.size) - 1) known = { ...known, ...parentOf(known) };
    const answer = this.tiles.get(known);
    if (!answer) return;
    const picture = this.pictures.get(answer.values, sizeOf(this.size, known), scale, colours);
    const side = 2 ** known.level;
    const part = 2 ** (known.level - place.level);
    const sx = ((place.col * SIDE) / part) % SIDE;
    const sy = ((place.row * SIDE) / part) % SIDE;
    const wide = Math.min(SIDE / part, picture.width - sx);
    const high = Math.min(SIDE / part, picture.height - sy);
    if (wide <= 0 || high <= 0) return;
    const x = LEFT + (place.col * SIDE * 2 ** place.level - port.x) * port.zoom;
    const y = TOP + (place.row * SIDE * 2 ** place.level - port.y) * port.zoom;
    pen.drawImage(picture, sx, sy, wide, high, x, y, wide * side * port.zoom, high * side * port.zoom);
  }

  private drawChoice(pen: CanvasRenderingContext2D, { port, plot }: Sight, style: CSSStyleDeclaration): void {
    const { from, to, key, sinks } = this.context.store.state;
    const bar = Math.max(1, port.zoom);
    if (sinks === "drop") {
      pen.fillStyle = style.getPropertyValue("--sunk");
      for (const sink of this.context.scene.sinks ?? [])
        pen.fillRect(LEFT + (sink - port.x) * port.zoom, TOP, bar, plot.height);
    }
    const rect = (x: number, y: number, width: number, height: number): void => {
      pen.strokeStyle = style.getPropertyValue("--card");
      pen.lineWidth = 3;
      pen.strokeRect(x, y, width, height);
      pen.strokeStyle = style.getPropertyValue("--accent");
      pen.lineWidth = 1.5;
      pen.strokeRect(x, y, width, height);
    };
    if (key !== null) rect(LEFT + (key - port.x) * port.zoom, TOP - 4, bar, plot.height + 8);
    if (from !== null && to !== null)
      rect(LEFT - 4, TOP + (from - port.y) * port.zoom, plot.width + 8, Math.max(1, (to - from) * port.zoom));
  }

  private marked(): { rows: Stretch | null; key: number | null; hits: Set<number> } {
    const { from, to, key } = this.context.store.state;
    return { rows: from === null || to === null ? null : { start: from, end: to }, key, hits: this.hits };
  }

  private drawLegend(scale: Scale, sight: Sight, places: Place[]): void {
    const { layer, head, sinks, aggregate } = this.context.store.state;
    const answers = places.map((place) => this.tiles.get(place));
    const sampled = answers.find((answer) => answer && !isExact(answer));
    const side = 2 ** sight.level;
    const level =
      sight.level === 0 ? "each cell is one weight" : `each cell is the ${aggregate} of ${side} × ${side} weights`;
    const rows = sampled
      ? `from ${count(sampled.rowsRead)} of ${count(sampled.rowsTotal)} rows, the rest is on its way`
      : "";
    const dropped =
      sinks === "drop"
        ? `sinks left out: ${(this.context.scene.sinks ?? []).length} of ${count(this.size.cols)} keys`
        : "";
    const says = [level, rows, dropped].filter(Boolean).join(" · ");
    this.context.inform("Shown", says);
    const root = this.el.closest<HTMLElement>(".heed");
    if (root) Object.assign(root.dataset, { level: String(sight.level), pending: String(this.tiles.pending) });
    const key = [
      says,
      scale.name,
      scale.top,
      this.context.store.state.palette,
      this.context.dark(),
      layer,
      head,
    ].join();
    if (key === this.legendSays) return;
    this.legendSays = key;
    const name = { linear: "weight", log: "weight, log scale", rank: "rank among what is on screen" }[scale.name];
    const colours = colourBar(name, paletteOf(this.context), ticksOf(scale));
    this.legend.replaceChildren(colours, h("p", {}, `${capital(says)}.`));
  }
}

function lookOf(style: CSSStyleDeclaration): Look {
  const value = (name: string): string => style.getPropertyValue(name).trim();
  return { text: value("--text"), muted: value("--muted"), accent: value("--accent"), font: value("--mono") };
}

function pixelRatio(): number {
  return window.devicePixelRatio || 1;
}
