// The text itself, coloured by what the chosen tokens attend to, or by what attends to them.

import { css, inkOn, number, palette, scaleOf } from "./colour";
import type { Context, Pane } from "./context";
import { h, select } from "./dom";
import { SPAN_COLOURS } from "./axes";
import { colourBar } from "./legend";
import { largest } from "./paint";
import { rowOfKey, sameTokens, type Scene } from "./scene";
import { isAbort } from "./source";
import type { State } from "./state";
import { count, find, label, running } from "./words";

const CHUNK = 400;

export function tokensPane(context: Context): Pane {
  return new TokensPane(context);
}

/**
 * Tokens are keys. Chosen are keys too (where rows are other tokens than keys, rows are chosen in the map or the
 * panel); a choice of keys is one of rows wherever these are the same tokens.
 */
class TokensPane implements Pane {
  readonly el: HTMLElement;
  private readonly text = h("div", {
    class: "text",
    role: "listbox",
    tabindex: 0,
    "aria-multiselectable": true,
    "aria-label": "Tokens. Arrow keys choose, shift extends.",
    "aria-orientation": "horizontal",
  });
  private readonly spans: HTMLElement[] = [];
  private readonly direction: HTMLSelectElement;
  private readonly says = h("p", { class: "help", "aria-live": "polite" });
  private readonly legend = h("div", { class: "legend" });
  private values: Float32Array | null = null;
  private asked = new AbortController();
  private anchor: number | null = null;
  private readonly release = (): void => void (this.anchor = null);

  constructor(private readonly context: Context) {
    const { scene, store } = context;
    this.direction = select(
      "Direction",
      [
        ["to", "what the chosen tokens attend to"],
        ["by", "what attends to the chosen tokens"],
      ] as const,
      (value) => store.set({ direction: value }),
    );
    this.fill(scene);
    const bar = h(
      "div",
      { class: "controls" },
      h("label", {}, h("span", {}, "Colour by"), this.direction),
      spanKeys(scene),
    );
    this.el = h("section", { class: "tokens", "aria-label": "Tokens" }, bar, this.says, this.text, this.legend);
    this.text.addEventListener("pointerdown", (event) => this.down(event));
    this.text.addEventListener("pointerover", (event) => this.over(event));
    this.text.addEventListener("keydown", (event) => this.press(event));
    addEventListener("pointerup", this.release);
  }

  update(state: State, changed: Set<keyof State> | null): void {
    this.direction.value = state.direction;
    this.mark(state);
    if (!changed || changed.has("from")) this.reveal(state);
    const again: (keyof State)[] = ["layer", "head", "from", "to", "direction", "key"];
    if (!changed || again.some((key) => changed.has(key))) void this.load(state);
    else this.colour();
  }

  undo(): void {
    this.asked.abort();
    removeEventListener("pointerup", this.release);
  }

  /** Chosen tokens as positions among the keys; the last row where nothing is chosen. */
  private chosen(state: State): { start: number; end: number } {
    const { scene } = this.context;
    const offset = scene.row_offset ?? 0;
    if (!sameTokens(scene)) {
      if (state.direction === "by") return { start: state.key ?? 0, end: (state.key ?? 0) + 1 };
      return { start: state.from ?? scene.n_rows - 1, end: state.to ?? scene.n_rows };
    }
    if (state.from !== null && state.to !== null) return { start: state.from + offset, end: state.to + offset };
    return { start: scene.n_rows - 1 + offset, end: scene.n_rows + offset };
  }

  private async load(state: State): Promise<void> {
    this.asked.abort();
    this.asked = new AbortController();
    const { scene, vectors } = this.context;
    const { start, end } = this.chosen(state);
    const offset = sameTokens(scene) ? (scene.row_offset ?? 0) : 0;
    const { layer, head, direction } = state;
    const ask = direction === "to" ? { start: start - offset, end: end - offset } : { start, end };
    try {
      const { values } = await vectors.get(
        direction === "to" ? "row" : "column",
        { layer, head, ...ask },
        this.asked.signal,
      );
      this.values = direction === "to" || !sameTokens(scene) ? values : shifted(values, offset, scene.n_keys);
      this.colour();
      this.describe(state);
    } catch (error) {
      if (!isAbort(error)) this.context.trouble(error instanceof Error ? error.message : String(error));
    }
  }

  private fill(scene: Scene): void {
    const special = new Set(scene.special ?? []);
    const edge = new Map(
      scene.spans.map((span, i) => [span.start, [span.name, SPAN_COLOURS[i % SPAN_COLOURS.length]] as const]),
    );
    let chunk: HTMLElement | null = null;
    scene.tokens.forEach((token, at) => {
      if (!chunk) this.text.append((chunk = h("div", { class: "chunk", role: "presentation" })));
      const lines = running(token);
      const span = h("span", {
        id: `heed-token-${at}`,
        role: "option",
        "data-at": at,
        class: special.has(at) ? "special" : null,
      });
      lines.forEach((line, i) => span.append(...(i && (line || i < lines.length - 1) ? [h("br")] : []), line));
      const ends = lines.length > 1 && !lines.at(-1); // its last break stands behind it: no box of it on the next line
      const named = edge.get(at);
      if (named) {
        const tag = h("span", { class: "tag", role: "presentation", "data-name": named[0] });
        tag.style.setProperty("--tag", named[1]);
        chunk.append(tag);
      }
      this.spans.push(span);
      chunk.append(span, ...(ends ? [h("br")] : []));
      if (ends && chunk.childElementCount > CHUNK) chunk = null; // blocks that are off screen are not laid out
    });
  }

  /** Scroll to what was chosen elsewhere; what is in sight stays where it is. */
  private reveal(state: State): void {
    if (state.from === null) return;
    const span = this.spans[this.chosen(state).start];
    const top = span.offsetTop;
    const { scrollTop, clientHeight } = this.text;
    if (top < scrollTop || top > scrollTop + clientHeight - 40) this.text.scrollTop = top - clientHeight / 3;
  }

  private mark(state: State): void {
    const { scene } = this.context;
    const { start, end } = this.chosen(state);
    const markable = sameTokens(scene) || state.direction === "by";
    const hits = new Set(find(scene.tokens, state.query));
    this.spans.forEach((span, at) => {
      const on = markable && at >= start && at < end;
      if (span.classList.contains("chosen") !== on) {
        span.classList.toggle("chosen", on);
        span.setAttribute("aria-selected", String(on));
      }
      span.classList.toggle("hit", hits.has(at));
    });
    if (markable) this.text.setAttribute("aria-activedescendant", `heed-token-${end - 1}`);
  }

  private colour(): void {
    if (!this.values) return;
    const { store, scene } = this.context;
    const { palette: name, sinks } = store.state;
    const known = new Set(scene.sinks ?? []);
    const dropped = sinks === "drop" ? known : new Set<number>();
    const kept = this.values.map((value, at) => (dropped.has(at) ? NaN : value));
    const among = kept.filter((_, at) => !known.has(at)); // one sink would leave all else pale
    const top = largest(among) || largest(kept);
    const colours = palette(name === "viridis" || name === "cividis" ? "ink" : name, this.context.dark());
    const by = scaleOf("linear", top);
    const most = number(top) + (largest(kept) > top ? " and more (sinks)" : "");
    this.legend.replaceChildren(
      colourBar("weight", colours, [
        { at: 0, text: "0" },
        { at: 1, text: most },
      ]),
    );
    this.spans.forEach((span, at) => {
      const value = kept[at];
      const step = value !== value || value === undefined ? -1 : Math.round(by.at(value) * (colours.length - 1));
      if (span.dataset["step"] === String(step)) return;
      span.dataset["step"] = String(step);
      span.style.background = step < 6 ? "" : css(colours[step]);
      span.style.color = step < 6 ? "" : inkOn(colours[step]);
    });
    this.spans.forEach((span, at) => span.classList.toggle("sunk", dropped.has(at)));
  }

  private describe(state: State): void {
    const { scene } = this.context;
    const { start, end } = this.chosen(state);
    const tokens = sameTokens(scene) || state.direction === "by" ? scene.tokens : (scene.row_tokens ?? []);
    const who =
      end - start === 1
        ? `Token ${count(start)} “${label(tokens[start] ?? "")}”`
        : `Tokens ${count(start)} to ${count(end - 1)}`;
    const top = strongest(this.values!, 1)[0];
    const rest = top === undefined ? "" : `; most: “${label(scene.tokens[top] ?? "")}” (${number(this.values![top])})`;
    const mean = end - start > 1 && state.direction === "to" ? ", mean of their rows" : "";
    const sinks = state.sinks === "drop" && scene.sinks?.length ? " Sinks are left out of the colours." : "";
    const one = end - start === 1;
    const does =
      state.direction === "to" ? (one ? "attends to" : "attend to") : one ? "is attended by" : "are attended by";
    this.says.textContent = `${who} ${does}${mean}${rest}.${sinks}`;
  }

  private at(event: Event): number | null {
    const span = (event.target as Element).closest<HTMLElement>("[data-at]");
    return span ? Number(span.dataset["at"]) : null;
  }

  private down(event: PointerEvent): void {
    const at = this.at(event);
    if (at === null || event.button !== 0) return;
    event.preventDefault(); // no selection of text while tokens are chosen by dragging
    this.text.focus({ preventScroll: true });
    if (!event.shiftKey || this.anchor === null)
      this.anchor = event.shiftKey ? this.chosen(this.context.store.state).start : at;
    this.pick(this.anchor, at);
  }

  private over(event: PointerEvent): void {
    const at = this.at(event);
    if (at === null) return;
    const span = this.spans[at];
    const value = this.values?.[at];
    span.title =
      value === undefined || value !== value ? `${count(at)}: hidden by the mask` : `${count(at)}: ${number(value)}`;
    if (this.anchor !== null && event.buttons) this.pick(this.anchor, at);
  }

  private pick(one: number, other: number): void {
    const { scene, store } = this.context;
    const [start, end] = [Math.min(one, other), Math.max(one, other) + 1];
    if (!sameTokens(scene)) return store.set({ key: other, direction: "by" });
    const from = rowOfKey(scene, start) ?? 0;
    const to = (rowOfKey(scene, end - 1) ?? from) + 1;
    store.choose(from, to);
  }

  private press(event: KeyboardEvent): void {
    const { start, end } = this.chosen(this.context.store.state);
    const last = this.spans.length - 1;
    const jump = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -10,
      ArrowDown: 10,
      Home: -last,
      End: last,
      PageUp: -100,
      PageDown: 100,
    }[event.key];
    if (jump === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const grows = event.shiftKey && this.anchor !== null;
    const at = Math.min(last, Math.max(0, (grows && this.anchor === end - 1 ? start : end - 1) + jump));
    if (!event.shiftKey) this.anchor = null;
    else this.anchor ??= jump > 0 ? start : end - 1;
    this.pick(this.anchor ?? at, at);
    if (!event.shiftKey) this.anchor = at;
    this.spans[at].scrollIntoView({ block: "nearest" });
  }
}

/** Values of rows, as values of the key tokens that these rows are. */
function shifted(values: Float32Array, offset: number, keys: number): Float32Array {
  const out = new Float32Array(keys).fill(NaN);
  out.set(values.subarray(0, Math.max(0, keys - offset)), offset);
  return out;
}

/** Places of the largest values, largest first. */
export function strongest(values: Float32Array, most: number): number[] {
  return Array.from(values.keys())
    .filter((at) => values[at] > 0)
    .sort((a, b) => values[b] - values[a])
    .slice(0, most);
}

function spanKeys(scene: Scene): HTMLElement {
  const keys = h("div", { class: "keys" });
  scene.spans.forEach((span, i) => {
    const dot = h("i", {});
    dot.style.background = SPAN_COLOURS[i % SPAN_COLOURS.length];
    keys.append(h("span", {}, dot, span.name));
  });
  return keys;
}
