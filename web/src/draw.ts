// `draw` puts a scene into an element and returns its undo. It does not know who shows the element, nor who answers.

import type { Context, Pane } from "./context";
import { h } from "./dom";
import { evidencePane } from "./evidence";
import { flowPane } from "./flow";
import { headsPane } from "./heads";
import { Thumbnails, Tiles, Vectors } from "./loader";
import { mapPane } from "./map";
import { Panel } from "./panel";
import { refusal, viewsOf, type Scene, type View } from "./scene";
import { Shell } from "./shell";
import type { Source, Status } from "./source";
import { fromHash, Store, toHash, type State } from "./state";
import style from "./style.css";
import { tokensPane } from "./tokens";

/** What a host may give: the state to begin with, where to keep it, whether the page is dark (else as the browser says). */
export type Host = { state?: string; save?: (state: string) => void; dark?: boolean | undefined };

const PANES: Record<View, (context: Context) => Pane> = {
  map: mapPane,
  heads: headsPane,
  tokens: tokensPane,
  flow: flowPane,
  evidence: evidencePane,
};

/**
 * Draw a scene. A scene without attention needs no source.
 *
 * Returns what takes everything away again: elements, listeners, questions under way.
 */
export function draw(el: HTMLElement, scene: Scene, source: Source | null, host: Host = {}): () => void {
  const problem = refusal(scene);
  if (problem) return refuse(el, problem);
  const undos: (() => void)[] = [];
  const store = new Store(fromHash(host.state ?? "", scene), scene);
  const panel: Panel = new Panel(() => context, scene);
  const shell = new Shell(scene, store, panel.el);
  const asked = source ?? silent();
  const thumbnails = new Thumbnails(asked);
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const context: Context = {
    scene,
    store,
    vectors: new Vectors(asked),
    thumbnails,
    tiles: (changed) =>
      new Tiles(
        asked,
        () => (shell.trouble(null), changed()),
        (message) => shell.trouble(message),
      ),
    dark: () => host.dark ?? theme.matches,
    say: (sentence) => shell.say(sentence),
    trouble: (sentence) => shell.trouble(sentence),
    inform: (name, value) => panel.inform(name, value),
  };
  el.replaceChildren(h("style", {}, style), shell.el);
  const paint = (): void => void (shell.el.dataset["theme"] = context.dark() ? "dark" : "light");
  paint();
  const stage = new Stage(context, shell);
  undos.push(
    store.on((state, changed) => {
      shell.update(state);
      stage.update(state, changed);
      panel.update(state, changed);
      host.save?.(toHash(state, scene));
    }),
    listen(theme, () => (paint(), stage.update(store.state, null))),
    source?.watch?.((status) => report(shell, panel, status)) ?? (() => undefined),
    () => stage.undo(),
    () => panel.undo(),
    () => thumbnails.stop(),
    () => el.replaceChildren(),
  );
  shell.update(store.state);
  stage.update(store.state, null);
  panel.update(store.state, null);
  Object.assign(shell.el, {
    __heed: {
      state: () => store.state,
      idle: () => shell.el.dataset["pending"] !== undefined && !Number(shell.el.dataset["pending"]),
    },
  });
  return () => undos.splice(0).forEach((undo) => undo());
}

/** The open view; the others are made when they are first opened and keep what they have. */
class Stage {
  private readonly panes = new Map<View, Pane>();
  private open: View | null = null;

  constructor(
    private readonly context: Context,
    private readonly shell: Shell,
  ) {}

  update(state: State, changed: Set<keyof State> | null): void {
    if (!viewsOf(this.context.scene).length) {
      this.shell.stage.replaceChildren(h("section", {}, "There is nothing to show: no token, no statistic, no text."));
      return;
    }
    const fresh = state.view !== this.open;
    let pane = this.panes.get(state.view);
    if (!pane) this.panes.set(state.view, (pane = PANES[state.view](this.context)));
    if (fresh) {
      if (this.open) this.panes.get(this.open)?.hide?.();
      this.open = state.view;
      const held = this.shell.el.contains(document.activeElement);
      this.shell.stage.replaceChildren(pane.el);
      if (held && !this.shell.el.contains(document.activeElement)) this.shell.el.focus({ preventScroll: true });
      if (state.view !== "map") this.context.inform("Shown", null);
    }
    pane.update(state, fresh ? null : changed);
  }

  undo(): void {
    for (const pane of this.panes.values()) pane.undo();
  }
}

function report(shell: Shell, panel: Panel, status: Status): void {
  const lost = shell.el.dataset["lost"] !== undefined;
  if (status.state === "lost") {
    shell.el.dataset["lost"] = "";
    shell.trouble(status.says ?? "The numbers cannot be had any more.");
  } else {
    delete shell.el.dataset["lost"];
    if (lost) {
      shell.trouble(null);
      shell.say("The connection is back.");
    }
  }
  const progress =
    status.state === "busy" ? `${Math.round(100 * (status.progress ?? 0))} % of the exact overview` : null;
  panel.inform("Computing", progress);
}

function refuse(el: HTMLElement, problem: string): () => void {
  el.replaceChildren(h("p", { class: "heed", role: "alert" }, problem));
  return () => el.replaceChildren();
}

/** Who answers for a scene that asks nothing. */
function silent(): Source {
  const none = (): Promise<never> => Promise.reject(new Error("Nothing can be asked: this scene holds no attention."));
  return { name: "embedded", tile: none, row: none, column: none, thumbnail: none };
}

function listen(theme: MediaQueryList, changed: () => void): () => void {
  theme.addEventListener("change", changed);
  return () => theme.removeEventListener("change", changed);
}
