// The host that is a notebook: an anywidget whose traits are the scene, the state and the height.

import { draw } from "./draw";
import { over, type Model } from "./kernel";
import { hasMap, type Scene } from "./scene";

const DEFAULT_HEIGHT = 640;

/** Draw the model's scene; drawn again when the scene changes. */
export function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  let undo = (): void => undefined;
  const redraw = (): void => {
    undo();
    const scene = model.get("scene") as Scene;
    el.style.setProperty("--heed-height", `${Number(model.get("height")) || DEFAULT_HEIGHT}px`);
    const save = (state: string): void => {
      model.set("state", state);
      model.save_changes();
    };
    const source = hasMap(scene) ? over(scene, model) : null;
    undo = draw(el, scene, source, {
      state: String(model.get("state") ?? ""),
      save: debounced(save),
      dark: darkOf(document.body),
    });
  };
  redraw();
  model.on("change:scene", redraw);
  return () => {
    model.off("change:scene", redraw);
    undo();
  };
}

/** Whether a notebook says that it is dark: JupyterLab, VS Code, marimo, Colab; undefined: it does not say. */
export function darkOf(body: HTMLElement): boolean | undefined {
  if (body.dataset["jpThemeLight"]) return body.dataset["jpThemeLight"] === "false";
  const classes = `${body.className} ${document.documentElement.className}`;
  if (/\bvscode-(dark|high-contrast)\b|\bdark(-theme|-mode)?\b/.test(classes)) return true;
  if (/\bvscode-light\b|\blight(-theme|-mode)?\b/.test(classes)) return false;
  return document.documentElement.getAttribute("theme") === "dark" ? true : undefined;
}

function debounced(save: (state: string) => void): (state: string) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (state) => {
    clearTimeout(timer);
    timer = setTimeout(() => save(state), 300);
  };
}
