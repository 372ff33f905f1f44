// The side panel: what is chosen and the strongest tokens on both sides of it, information, notes, keys.

import { number } from "./colour";
import type { Context } from "./context";
import { h } from "./dom";
import { hasMap, MEAN, rowToken, type Scene } from "./scene";
import { isAbort } from "./source";
import type { State } from "./state";
import { strongest } from "./tokens";
import { capital, count, label, spelled } from "./words";

const MOST = 8;
const KEYS: [string, string][] = [
  ["1 – 5", "views"],
  ["[  ]", "layer before, after"],
  [",  .", "head before, after"],
  ["/", "find a token"],
  ["Esc", "clear"],
  ["arrows", "move in map, text, heads"],
  ["+  −  0", "zoom in, out, all"],
  ["Enter", "open the row as text"],
];

/** The panel and how it follows the state. */
export class Panel {
  readonly el: HTMLElement;
  private readonly choice = h("div", { class: "choice" });
  private readonly facts = h("dl", {});
  private readonly informed = new Map<string, string>();
  private asked = new AbortController();

  constructor(
    private readonly context: () => Context,
    private readonly scene: Scene,
  ) {
    const notes = scene.notes.map((note) => h("li", { dir: "auto" }, spelled(note)));
    this.el = h(
      "aside",
      { "aria-label": "Choice and information" },
      hasMap(scene) ? h("section", { class: "card" }, h("h3", {}, "Choice"), this.choice) : null,
      h("section", { class: "card" }, h("h3", {}, "Information"), this.facts),
      notes.length ? h("section", { class: "card" }, h("h3", {}, "Notes"), h("ul", {}, ...notes)) : null,
      hasMap(scene) &&
        h(
          "details",
          { class: "card keys" },
          h("summary", {}, "Keys"),
          h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("div", {}, h("dt", {}, key), h("dd", {}, what))])),
        ),
    );
    this.inform("", null);
  }

  /** A line of the information that views know; null takes it away. */
  inform(name: string, value: string | null): void {
    if (value === null) this.informed.delete(name);
    else if (this.informed.get(name) === value) return;
    else this.informed.set(name, value);
    const { scene } = this;
    const lines: [string, string][] = [
      ...scene.info,
      ...(scene.exactness ? [["Numbers", scene.exactness] as [string, string]] : []),
      ...this.informed,
    ];
    this.facts.replaceChildren(
      ...lines.map(([key, text]) =>
        h("div", {}, h("dt", {}, spelled(capital(key))), h("dd", { dir: "auto" }, spelled(text))),
      ),
    );
  }

  update(state: State, changed: Set<keyof State> | null): void {
    const again: (keyof State)[] = ["layer", "head", "from", "to", "key"];
    if (!hasMap(this.scene) || (changed && !again.some((key) => changed.has(key)))) return;
    void this.load(state);
  }

  undo(): void {
    this.asked.abort();
  }

  private async load(state: State): Promise<void> {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const { layer, head, from, to, key } = state;
    if (from === null || to === null) {
      this.choice.replaceChildren(
        h("p", { class: "help" }, "Press a cell of the map or a token of the text. Its strongest links appear here."),
      );
      return;
    }
    const { vectors } = this.context();
    const column = to - from === 1 ? (key ?? from + (this.scene.row_offset ?? 0)) : null;
    const where = head === MEAN ? `layer ${layer}, mean of heads` : `layer ${layer}, head ${head}`;
    try {
      const row = await vectors.get("row", { layer, head, start: from, end: to }, signal);
      const by =
        column === null || column >= this.scene.n_keys
          ? null
          : await vectors.get("column", { layer, head, start: column, end: column + 1 }, signal);
      if (signal.aborted) return;
      this.choice.replaceChildren(
        h("p", { class: "help" }, where),
        this.links(from, to, row.values),
        key !== null && to - from === 1 ? this.entry(from, key, row.values) : "",
        by ? this.receivers(column!, by.values) : "",
      );
    } catch (error) {
      if (!isAbort(error))
        this.choice.replaceChildren(h("p", { class: "help" }, error instanceof Error ? error.message : String(error)));
    }
  }

  private links(from: number, to: number, values: Float32Array): HTMLElement {
    const who =
      to - from === 1
        ? [h("bdi", { class: "token" }, label(rowToken(this.scene, from))), ` (${count(from)})`]
        : [`rows ${count(from)}–${count(to - 1)}, mean`];
    const choose = (key: number): void => this.context().store.set({ key });
    return h(
      "div",
      {},
      h("h4", {}, ...who, " attends to"),
      this.list(strongest(values, MOST), values, (at) => this.scene.tokens[at], choose),
    );
  }

  private entry(row: number, key: number, values: Float32Array): HTMLElement {
    const own = values[key];
    const seen = values.filter((value) => value === value);
    const rank =
      own !== own
        ? "hidden by the mask"
        : `${number(own)}, rank ${count(1 + seen.filter((value) => value > own).length)} of ${count(seen.length)}`;
    return h(
      "p",
      { class: "entry" },
      h("bdi", { class: "token" }, label(rowToken(this.scene, row))),
      " → ",
      h("bdi", { class: "token" }, label(this.scene.tokens[key])),
      h("b", {}, rank),
    );
  }

  private receivers(key: number, values: Float32Array): HTMLElement {
    const choose = (row: number): void => this.context().store.choose(row, row + 1, key);
    const head = h(
      "h4",
      {},
      h("bdi", { class: "token" }, label(this.scene.tokens[key])),
      ` (${count(key)}) is attended by`,
    );
    return h(
      "div",
      {},
      head,
      this.list(strongest(values, MOST), values, (at) => rowToken(this.scene, at), choose),
    );
  }

  private list(
    places: number[],
    values: Float32Array,
    token: (at: number) => string,
    choose: (at: number) => void,
  ): HTMLElement {
    if (!places.length) return h("p", { class: "help" }, "nothing");
    const sinks = new Set(this.context().store.state.sinks === "drop" ? (this.scene.sinks ?? []) : []);
    const top = Math.max(...places.filter((at) => !sinks.has(at)).map((at) => values[at]), 1e-30);
    const line = (at: number): HTMLElement => {
      const fill = h("i", { class: "fill" });
      fill.style.width = `${Math.min(100, (100 * values[at]) / top)}%`;
      const button = h(
        "button",
        {
          type: "button",
          class: "link",
          onclick: () => choose(at),
          "aria-label": `token ${at} ${label(token(at))}, ${number(values[at])}`,
        },
        h("bdi", { class: "token" }, label(token(at), 18)),
      );
      return h(
        "li",
        {},
        button,
        h("span", { class: "number" }, number(values[at])),
        h("div", { class: "track", "aria-hidden": true }, fill),
      );
    };
    return h("ol", { class: "links" }, ...places.map(line));
  }
}
