// The host that is a page, exported or served: scene and data stand in it, the state is in its address.

import { draw, type Host } from "./draw";
import { embedded } from "./embedded";
import type { Data } from "./exact";
import { remote } from "./remote";
import { hasMap, type Scene } from "./scene";

/** Start in the page's `#heed[data-heed-source]`, where there is one that has not been started. */
export function startPage(page: Document): void {
  const el = page.querySelector<HTMLElement>("#heed[data-heed-source]:not([data-heed-started])");
  if (!el) return;
  el.dataset["heedStarted"] = "";
  el.classList.add("heed-page");
  page.body.style.margin = "0";
  const scene = read<Scene>(page, "heed-scene");
  page.title = scene.title;
  let undo = mount(page, el, scene);
  el.querySelector<HTMLElement>(".heed")?.focus({ preventScroll: true }); // so that keys work at once
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === written) return;
    undo();
    undo = mount(page, el, scene);
  });
}

let written = "";

function mount(page: Document, el: HTMLElement, scene: Scene): () => void {
  const host: Host = { state: location.hash.slice(1), save: keep };
  if (!hasMap(scene)) return draw(el, scene, null, host);
  const { heedSource, heedUrl, heedTrace } = el.dataset;
  const source =
    heedSource === "remote"
      ? remote(scene, heedUrl ?? "./", heedTrace)
      : embedded(scene, read<Data>(page, "heed-data"));
  return draw(el, scene, source, host);
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Write the state into the address; not at every step of a drag, and never as a step of "back". */
function keep(state: string): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    written = state;
    history.replaceState(null, "", `#${state}`);
  }, 150);
}

function read<T>(page: Document, id: string): T {
  return JSON.parse(page.getElementById(id)?.textContent ?? "null") as T;
}
