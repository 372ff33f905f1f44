// What every view is given: the scene, the state, whoever answers, and how to speak to the reader.

import { palette, type Rgb } from "./colour";
import type { Thumbnails, Tiles, Vectors } from "./loader";
import type { Scene } from "./scene";
import type { State, Store } from "./state";

export type Context = {
  scene: Scene;
  store: Store;
  tiles: (changed: () => void) => Tiles;
  vectors: Vectors;
  thumbnails: Thumbnails;
  /** Whether the page is dark. */
  dark(): boolean;
  /** Say a sentence where a screen reader hears it. */
  say(sentence: string): void;
  /** Say that something went wrong; null: it is well again. */
  trouble(sentence: string | null): void;
  /** The information panel's line of that name; null takes it away. */
  inform(label: string, value: string | null): void;
};

/** A view: its element, how it follows the state, and its undo. Told of the state only while it is shown. */
export type Pane = {
  el: HTMLElement;
  update(state: State, changed: Set<keyof State> | null): void;
  /** Another view is opened: ask for nothing any more. */
  hide?(): void;
  undo(): void;
};

export function paletteOf(context: Context): Rgb[] {
  return palette(context.store.state.palette, context.dark());
}
