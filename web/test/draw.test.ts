// @vitest-environment happy-dom
// The shell without a canvas: hostile text, keys, links between views, undo.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { draw } from "../src/draw";
import { embedded } from "../src/embedded";
import type { Scene } from "../src/scene";
import { dataOf, sceneOf } from "./scenes";
import numbers from "./numbers.json";

const one = numbers.cases[0];
const HOSTILE = '<script>window.hit = 1</script><img src=x onerror="window.hit = 1">\u202e';
let el: HTMLElement;
let undo: () => void;

beforeEach(() => {
  vi.stubGlobal("matchMedia", () => ({
    matches: false,
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
  }));
  el = document.body.appendChild(document.createElement("div"));
});
afterEach(() => {
  undo();
  el.remove();
});

function show(patch: Partial<Scene> = {}, state = ""): HTMLElement {
  const scene = sceneOf(one, patch);
  undo = draw(el, scene, embedded(scene, dataOf(one.factors)), { state, save: (now) => (saved = now) });
  return el.querySelector<HTMLElement>(".heed")!;
}
let saved = "";

const press = (target: Element, key: string, more: KeyboardEventInit = {}): boolean =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));

test("hostile text is shown and never obeyed", () => {
  const tokens = Array.from({ length: 63 }, () => HOSTILE);
  const passages = [{ label: HOSTILE, text: HOSTILE, marks_name: HOSTILE, marks: [{ start: 0, end: 9, weight: 0.5 }] }];
  const hostile = {
    title: HOSTILE,
    headline: HOSTILE,
    tokens,
    passages,
    notes: [HOSTILE],
    info: [[HOSTILE, HOSTILE]] as [string, string][],
    watermark: HOSTILE,
    model: HOSTILE,
  };
  for (const view of ["evidence", "map", "heads", "tokens"]) {
    const root = show(hostile, `view=${view}`);
    expect(root.dataset["view"]).toBe(view);
    expect(el.querySelectorAll("script, img")).toHaveLength(0);
    expect(root.textContent).toContain("<script>");
    expect(root.textContent).toContain("⟨RLO⟩");
    undo();
  }
});

test("number keys open views, brackets and commas step through layers and heads", () => {
  const root = show({});
  press(root, "2");
  expect(root.dataset["view"]).toBe("heads");
  press(root, ".");
  expect(root.dataset["head"]).toBe("5");
  press(root, "]");
  expect(root.dataset["layer"]).toBe("3"); // there is only one
  press(root, ",");
  expect(root.dataset["head"]).toBe("-1");
});

test("a key chosen by keyboard in the text is in the state, and Escape clears it", () => {
  const root = show({}, "view=tokens&from=4&to=5");
  const text = root.querySelector(".text")!;
  press(text, "ArrowRight");
  press(text, "ArrowRight", { shiftKey: true });
  expect(saved).toContain("from=5&to=7");
  expect(root.querySelectorAll('[aria-selected="true"][data-at]')).toHaveLength(2);
  press(root, "Escape");
  expect(saved).not.toContain("from");
});

test("the chosen row's strongest keys are named in the panel", async () => {
  const root = show({}, "from=62&to=63&head=5");
  await vi.waitFor(() => expect(root.querySelectorAll(".links li").length).toBeGreaterThan(3));
  const row = one.map[0].slice(2 * 63) as number[];
  const top = row.indexOf(Math.max(...row));
  expect(root.querySelector(".links li")!.textContent).toContain(`t${top}`);
});

test("a scene of another version is refused in words", () => {
  show({ version: 2 });
  expect(el.textContent).toContain("Expected a scene of version 1, found 2");
});

test("a scene without attention has no map and asks nothing", () => {
  const statistics = [
    {
      key: "grid",
      label: "Grid",
      help: "h",
      unit: "share" as const,
      layers: [0],
      heads: [0, 1],
      values: [[0.5, null]],
    },
  ];
  const root = show({ layers: [], heads: [], n_rows: 0, n_keys: 0, tokens: [], statistics });
  expect([...root.querySelectorAll('[role="tab"]')]).toHaveLength(0);
  expect(root.dataset["view"]).toBe("heads");
  expect(root.querySelector('[role="gridcell"]')!.getAttribute("aria-label")).toBe("layer 0, head 0: 0.500");
  expect(root.querySelectorAll(".unread")).toHaveLength(1);
});

test("no token at all", () => {
  show({ layers: [], heads: [], n_rows: 0, n_keys: 0, tokens: [] });
  expect(el.textContent).toContain("There is nothing to show");
});

test("one token", async () => {
  const single = numbers.cases[3];
  const scene = sceneOf(single);
  undo = draw(el, scene, embedded(scene, dataOf(single.factors)), { state: "view=tokens" });
  await vi.waitFor(() => expect(el.querySelector(".help")!.textContent).toContain("attends to"));
});

test("an export carries nothing that is fetched, and every control has a name", () => {
  const root = show({ spans: [{ name: "data", start: 0, end: 9 }] });
  expect(root.querySelectorAll("[src], [href], link, iframe")).toHaveLength(0);
  for (const control of root.querySelectorAll("button, select, input, canvas"))
    expect(control.getAttribute("aria-label") ?? control.closest("label")?.textContent ?? control.textContent).toMatch(
      /\S/,
    );
});

test("what coarse cells are made of is asked only where a map can be coarse", () => {
  expect(show({}).querySelector('[aria-label="Coarse cells"]')).toBeNull();
  undo();
  const tokens = Array.from({ length: 300 }, () => "t");
  const large = { n_rows: 300, n_keys: 300, tokens };
  expect(show(large).querySelector('[aria-label="Coarse cells"]')).not.toBeNull();
});

test("lines of the information begin alike, whoever names them", () => {
  const root = show({ info: [["batch × heads", "1 × 3"]] });
  const names = [...root.querySelectorAll("aside > section:nth-of-type(2) dt")].map((name) => name.textContent);
  expect(names).toEqual(["Batch × heads", "Numbers"]);
});

test("undo leaves nothing behind", () => {
  show({});
  undo();
  expect(el.childNodes).toHaveLength(0);
});

test("a mark of the evidence chooses its tokens, and a chosen token frames its mark", () => {
  const marks = [
    { start: 0, end: 2, weight: 0.6, tokens: [4, 6] as [number, number] },
    { start: 3, end: 5, weight: 0.4, tokens: null },
  ];
  const passages = [{ label: "data", text: "ab cd", marks_name: "share", marks }];
  const root = show({ headline: "Injection", passages, numbers: [["risk", "0.9"]] }, "view=evidence");
  const [linked, loose] = root.querySelectorAll<HTMLElement>(".evidence mark");
  expect(root.querySelector(".evidence dl")!.textContent).toBe("risk0.9");
  expect(loose.getAttribute("role")).toBeNull();
  press(linked, "Enter");
  expect(saved).toContain("from=4&to=6&key=4");
  expect(linked.getAttribute("aria-pressed")).toBe("true");
  undo();
  const again = show({ passages }, "view=evidence&from=9&to=10");
  expect(again.querySelector(".evidence mark")!.classList.contains("chosen")).toBe(false);
});
