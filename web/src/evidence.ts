// What a verdict or a citation rests on: the caller's own text with its marks, the risk, and the numbers.

import type { Context, Pane } from "./context";
import { h, type Attributes } from "./dom";
import { rowOfKey, type Mark, type Passage, type Scene } from "./scene";
import type { State } from "./state";
import { spelled, utf16Offsets } from "./words";

const LEVELS = 4;

export function evidencePane(context: Context): Pane {
  const { scene } = context;
  const choose = (mark: Mark): void => {
    if (mark.tokens) chooseTokens(context, mark.tokens);
  };
  const el = h(
    "section",
    { class: "evidence", "aria-label": "Evidence" },
    verdict(scene),
    ...scene.passages.map((passage, i) => block(passage, i, choose)),
    scene.numbers?.length ? numbers(scene.numbers) : null,
  );
  return { el, update: (state) => follow(el, scene, state), undo: () => undefined };
}

/** Choose the tokens a mark stands on, so that every view shows what they attend to and who attends to them. */
function chooseTokens({ scene, store }: Context, [start, end]: [number, number]): void {
  const row = rowOfKey(scene, start);
  if (row === null) store.set({ key: start });
  else store.choose(row, row + end - start, start);
}

/** Frame the marks that hold a chosen token. */
function follow(el: HTMLElement, scene: Scene, state: State): void {
  const offset = scene.row_offset ?? 0;
  const from = state.from === null || scene.row_tokens ? state.key : state.from + offset;
  const to = state.to === null || scene.row_tokens ? (state.key ?? -1) + 1 : state.to + offset;
  for (const mark of el.querySelectorAll<HTMLElement>("mark[data-from]")) {
    const over = from !== null && Number(mark.dataset["from"]) < to && Number(mark.dataset["to"]) > from;
    mark.classList.toggle("chosen", over);
    mark.setAttribute("aria-pressed", String(over));
  }
}

function numbers(pairs: [string, string][]): HTMLElement {
  const lines = pairs.map(([key, text]) =>
    h("div", {}, h("dt", {}, spelled(key)), h("dd", { dir: "auto" }, spelled(text))),
  );
  return h("section", { class: "card", "aria-label": "Numbers" }, h("h3", {}, "Numbers"), h("dl", {}, ...lines));
}

type Piece = { text: string; mark: number | null; weight: number };

/** Cut a passage at the edges of its marks; where they overlap, the heaviest is drawn. */
export function pieces(passage: Passage): Piece[] {
  const { text, marks } = passage;
  const edges = utf16Offsets(
    text,
    marks.flatMap((mark) => [mark.start, mark.end]),
  );
  const spans = marks.map((mark, i) => ({ start: edges[2 * i], end: edges[2 * i + 1], weight: mark.weight, mark: i }));
  const cuts = [...new Set([0, ...edges, text.length])].sort((a, b) => a - b);
  const found: Piece[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const over = spans.filter((span) => span.start <= cuts[i] && span.end >= cuts[i + 1]);
    const owner = over.reduce<(typeof spans)[number] | null>(
      (best, span) => (!best || span.weight > best.weight ? span : best),
      null,
    );
    const last = found.at(-1);
    const part = text.slice(cuts[i], cuts[i + 1]);
    if (last && last.mark === (owner?.mark ?? null)) last.text += part;
    else found.push({ text: part, mark: owner?.mark ?? null, weight: owner?.weight ?? 0 });
  }
  return found;
}

export function percent(weight: number): string {
  if (weight > 0 && weight < 0.001) return "<0.1 %";
  return `${(100 * weight).toFixed(weight >= 0.0995 || weight === 0 ? 0 : 1)} %`;
}

function verdict(scene: Scene): HTMLElement | null {
  if (!scene.headline && !scene.risk) return null;
  const tone = scene.tone ?? "neutral";
  const [sign, word] = { good: ["✓", "OK"], bad: ["▲", "Alert"], unsure: ["?", "Unsure"], neutral: ["●", "Note"] }[
    tone
  ];
  return h(
    "div",
    { class: `verdict ${tone}` },
    h(
      "p",
      { class: "headline" },
      h("span", { class: "tone" }, `${sign} ${word}`),
      h("span", { dir: "auto" }, spelled(scene.headline ?? "")),
    ),
    scene.risk ? risk(scene.risk) : null,
  );
}

function risk({ value, threshold }: { value: number; threshold: number | null }): HTMLElement {
  const says = `Risk ${value.toFixed(2)}${threshold === null ? "" : `, threshold ${threshold.toFixed(2)}`}`;
  const fill = h("i", { class: "fill" });
  fill.style.width = `${100 * value}%`;
  const tick = h("i", { class: "tick" });
  tick.style.left = `${100 * (threshold ?? 0)}%`;
  return h(
    "div",
    { class: "risk", role: "img", "aria-label": says },
    h("span", {}, says),
    h("div", { class: "track" }, fill, threshold !== null && tick),
  );
}

function block(passage: Passage, number: number, choose: (mark: Mark) => void): HTMLElement {
  const heaviest = Math.max(0, ...passage.marks.map((mark) => mark.weight));
  const text = h("div", { class: "text", dir: "auto" });
  for (const piece of pieces(passage)) {
    if (piece.mark === null) {
      text.append(spelled(piece.text));
      continue;
    }
    const mark = passage.marks[piece.mark];
    const level = 1 + Math.min(LEVELS - 1, Math.floor((piece.weight / (heaviest || 1)) * LEVELS));
    text.append(
      h(
        "mark",
        {
          class: `l${level}`,
          id: `heed-mark-${number}-${piece.mark}`,
          tabindex: 0,
          title: percent(piece.weight),
          ...(mark.tokens && linked(mark, mark.tokens, choose)),
        },
        spelled(piece.text),
      ),
    );
  }
  const heading = h(
    "div",
    { class: "heading" },
    h("h3", {}, spelled(passage.label)),
    passage.marks.length ? h("p", {}, spelled(passage.marks_name)) : null,
  );
  return h(
    "div",
    { class: "card passage" },
    heading,
    text,
    passage.marks.length ? words(passage, number, heaviest, choose) : null,
  );
}

function linked(mark: Mark, [from, to]: [number, number], choose: (mark: Mark) => void): Attributes {
  const press = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(mark);
  };
  const act = { onclick: () => choose(mark), onkeydown: press };
  return { role: "button", "aria-pressed": "false", "data-from": from, "data-to": to, ...act };
}

function words(passage: Passage, number: number, heaviest: number, choose: (mark: Mark) => void): HTMLElement {
  const edges = utf16Offsets(
    passage.text,
    passage.marks.flatMap((mark) => [mark.start, mark.end]),
  );
  const order = passage.marks.map((_, i) => i).sort((a, b) => passage.marks[b].weight - passage.marks[a].weight);
  const line = (i: number): HTMLElement => {
    const fill = h("i", { class: "fill" });
    fill.style.width = `${(100 * passage.marks[i].weight) / (heaviest || 1)}%`;
    const go = (): void => {
      const mark = document.getElementById(`heed-mark-${number}-${i}`);
      mark?.scrollIntoView({ block: "center", behavior: "smooth" });
      mark?.focus({ preventScroll: true });
      choose(passage.marks[i]);
    };
    const said = spelled(passage.text.slice(edges[2 * i], edges[2 * i + 1]));
    return h(
      "tr",
      {},
      h("td", { dir: "auto" }, h("button", { type: "button", class: "link", onclick: go }, said)),
      h("td", { class: "number" }, percent(passage.marks[i].weight)),
      h("td", { class: "share", "aria-hidden": true }, h("div", { class: "track" }, fill)),
    );
  };
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "Words"),
    h("th", { scope: "col", class: "number" }, "Share"),
    h("th", { "aria-hidden": true }),
  );
  return h("table", { class: "words" }, h("thead", {}, head), h("tbody", {}, ...order.map(line)));
}
