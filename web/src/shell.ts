// Around the views: title, tabs, layer and head, search, clear, what went wrong. Knows which view is open, not what is in it.

import { h, select } from "./dom";
import { hasMap, MEAN, rowOfKey, viewsOf, type Scene, type View } from "./scene";
import { initial, type State, type Store } from "./state";
import { count, find, spelled } from "./words";

const NAMES: Record<View, string> = {
  evidence: "Evidence",
  map: "Map",
  heads: "Heads",
  tokens: "Tokens",
  flow: "Flow",
};

export class Shell {
  readonly el: HTMLElement;
  readonly stage = h("div", { class: "views" });
  private readonly live = h("p", { class: "hidden", "aria-live": "polite" });
  private readonly alert = h("p", { class: "alert", role: "alert", hidden: true });
  private readonly tabs = new Map<View, HTMLButtonElement>();
  private readonly layer: HTMLSelectElement;
  private readonly head: HTMLSelectElement;
  private readonly search: HTMLInputElement;
  private readonly found = h("span", { class: "found", "aria-live": "polite" });
  private readonly sinks: HTMLInputElement;
  private match = -1;

  constructor(
    private readonly scene: Scene,
    private readonly store: Store,
    panel: HTMLElement,
  ) {
    const pick = (key: "layer" | "head") => (value: string) => store.set({ [key]: Number(value) });
    this.layer = select(
      "Layer",
      scene.layers.map((layer) => [String(layer), `Layer ${layer}`] as const),
      pick("layer"),
    );
    const heads: [string, string][] = scene.heads.map((head) => [String(head), `Head ${head}`]);
    if (heads.length > 1) heads.unshift([String(MEAN), "Mean of heads"]);
    this.head = select("Head", heads, pick("head"));
    this.search = h("input", {
      type: "search",
      placeholder: "Find a token",
      "aria-label": "Find a token",
      oninput: () => this.seek(),
      onkeydown: (event: KeyboardEvent) => this.next(event),
    });
    this.sinks = h("input", {
      type: "checkbox",
      onchange: () => store.set({ sinks: this.sinks.checked ? "drop" : "keep" }),
    });
    this.el = h("div", { class: "heed", tabindex: -1, onkeydown: (event: KeyboardEvent) => this.press(event) });
    const body = h("div", { class: "body" }, this.stage, panel);
    this.el.append(this.header(), this.alert, hasMap(scene) ? this.toolbar() : "", body, this.live);
    if (scene.watermark)
      this.el.append(h("div", { class: "watermark", "aria-hidden": true }, spelled(scene.watermark)));
  }

  update(state: State): void {
    for (const [view, tab] of this.tabs) {
      tab.setAttribute("aria-selected", String(view === state.view));
      tab.tabIndex = view === state.view ? 0 : -1;
    }
    this.layer.value = String(state.layer);
    this.head.value = String(state.head);
    this.sinks.checked = state.sinks === "drop";
    if (this.search.value !== state.query) this.search.value = state.query;
    Object.assign(this.el.dataset, { view: state.view, layer: String(state.layer), head: String(state.head) });
  }

  say(sentence: string): void {
    this.live.textContent = sentence;
  }

  trouble(sentence: string | null): void {
    this.alert.hidden = sentence === null;
    this.alert.textContent = sentence ?? "";
  }

  private header(): HTMLElement {
    const { scene } = this;
    const about = [scene.model, scene.dtype, hasMap(scene) ? tokensOf(scene) : ""]
      .filter(Boolean)
      .map(spelled)
      .join(" · ");
    const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Views" });
    const views = viewsOf(scene);
    views.forEach((view, i) => {
      const tab = h(
        "button",
        { type: "button", role: "tab", title: `${NAMES[view]} (${i + 1})`, onclick: () => this.store.set({ view }) },
        NAMES[view],
      );
      this.tabs.set(view, tab);
      tabs.append(tab);
    });
    tabs.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      const view = views[(views.indexOf(this.store.state.view) + step + views.length) % views.length];
      this.store.set({ view });
      this.tabs.get(view)!.focus();
    });
    const mark = scene.watermark ? h("span", { class: "stamp" }, spelled(scene.watermark)) : null;
    return h(
      "header",
      {},
      h(
        "div",
        { class: "titles" },
        h("h2", { dir: "auto" }, spelled(scene.title), mark),
        h("p", { dir: "auto" }, about),
      ),
      views.length > 1 ? tabs : null,
    );
  }

  private toolbar(): HTMLElement {
    const step = (key: "layer" | "head", by: number, text: string): HTMLElement => {
      const name = `${key === "layer" ? "Layer" : "Head"} ${by < 0 ? "before" : "after"}`;
      return h("button", { type: "button", "aria-label": name, title: name, onclick: () => this.step(key, by) }, text);
    };
    return h(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Layer, head, search" },
      h("div", { class: "group" }, step("layer", -1, "‹"), this.layer, step("layer", 1, "›")),
      h("div", { class: "group" }, step("head", -1, "‹"), this.head, step("head", 1, "›")),
      h("div", { class: "search" }, this.search, this.found),
      this.scene.sinks?.length
        ? h("label", { class: "check", title: sinkHelp(this.scene.sinks) }, this.sinks, h("span", {}, "Discount sinks"))
        : null,
      h(
        "button",
        { type: "button", class: "clear", title: "Clear choice, search and zoom (Esc)", onclick: () => this.clear() },
        "Clear",
      ),
    );
  }

  private step(key: "layer" | "head", by: number): void {
    const known =
      key === "layer"
        ? this.scene.layers
        : this.scene.heads.length > 1
          ? [MEAN, ...this.scene.heads]
          : this.scene.heads;
    const at = known.indexOf(this.store.state[key]) + by;
    if (at >= 0 && at < known.length) this.store.set({ [key]: known[at] });
  }

  private clear(): void {
    const { layer, head, view } = this.store.state;
    const usual = initial(this.scene);
    this.store.set({ ...usual, from: null, to: null, layer, head, view });
    this.seek();
  }

  private seek(): void {
    this.match = -1;
    this.store.set({ query: this.search.value });
    const hits = find(this.scene.tokens, this.search.value).length;
    this.found.textContent = this.search.value ? (hits === 1 ? "1 place" : `${count(hits)} places`) : "";
  }

  private next(event: KeyboardEvent): void {
    event.stopPropagation();
    if (event.key === "Escape") {
      this.search.value = "";
      this.seek();
      this.search.blur();
    }
    if (event.key !== "Enter") return;
    const hits = find(this.scene.tokens, this.search.value);
    if (!hits.length) return;
    this.match = (this.match + (event.shiftKey ? -1 : 1) + hits.length) % hits.length;
    const key = hits[this.match];
    const row = rowOfKey(this.scene, key);
    this.found.textContent = `${this.match + 1} of ${count(hits.length)}`;
    if (row === null) this.store.set({ key });
    else this.store.choose(row, row + 1, key);
  }

  private press(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
    const views = viewsOf(this.scene);
    const view = views[Number(event.key) - 1];
    if (view) this.store.set({ view });
    else if (event.key === "[" || event.key === "]") this.step("layer", event.key === "[" ? -1 : 1);
    else if (event.key === "," || event.key === ".") this.step("head", event.key === "," ? -1 : 1);
    else if (event.key === "/" && hasMap(this.scene)) this.search.focus();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function sinkHelp(sinks: number[]): string {
  const places = sinks.slice(0, 6).join(", ") + (sinks.length > 6 ? " …" : "");
  return `Leave out the keys that take attention whatever the text says (positions ${places}). The other weights stay as they are.`;
}

function tokensOf(scene: Scene): string {
  const rows = scene.n_rows === scene.n_keys ? "" : ` (${count(scene.n_rows)} ${scene.n_rows === 1 ? "row" : "rows"})`;
  return `${count(scene.n_keys)} ${scene.n_keys === 1 ? "token" : "tokens"}${rows}`;
}
