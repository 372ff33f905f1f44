// What the page has asked for: tiles and vectors, kept while there is room, cancelled when nobody looks at them any more.

import { isAbort, isExact, type Answer, type HeadAsk, type Source, type StretchAsk, type TileAsk } from "./source";

const AT_ONCE = { tiles: 3, exact: 1, thumbnails: 2 }; // together no more than a browser's six connections to one server
const KEPT_TILES = 160; // 40 MB of full tiles
const KEPT_VECTORS = 64;
const RETRY_MS = 3000;

export type Place = Omit<TileAsk, "exact">;

export function placeKey(place: Place): string {
  const { layer, head, level, row, col, aggregate, sinks } = place;
  return [layer, head, level, row, col, level ? aggregate : "exact", sinks].join("/");
}

/** Tiles: the newest wish counts, older ones are cancelled. A tile of sampled rows is asked for again, exactly. */
export class Tiles {
  private readonly kept = new Map<string, Answer>();
  private readonly running = new Map<string, { controller: AbortController; exact: boolean }>();
  private wanted: Place[] = [];
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly source: Source,
    private readonly changed: () => void,
    private readonly failed: (message: string) => void,
  ) {}

  /** How many of the tiles that are wanted are not there, or not exact. */
  get pending(): number {
    return this.wanted.filter((place) => !this.settled(placeKey(place))).length;
  }

  get(place: Place): Answer | undefined {
    const key = placeKey(place);
    const answer = this.kept.get(key);
    if (answer) {
      this.kept.delete(key);
      this.kept.set(key, answer); // used last, dropped last
    }
    return answer;
  }

  /** Ask for these, the most urgent first, and for nothing else. */
  want(places: Place[]): void {
    this.wanted = places;
    const keys = new Set(places.map(placeKey));
    for (const [key, { controller }] of this.running) {
      if (keys.has(key)) continue;
      this.running.delete(key);
      controller.abort();
    }
    this.start();
  }

  stop(): void {
    clearTimeout(this.retry);
    this.want([]);
  }

  private settled(key: string): boolean {
    const answer = this.kept.get(key);
    return !!answer && isExact(answer);
  }

  private start(): void {
    const missing = this.wanted.filter((place) => !this.settled(placeKey(place)) && !this.running.has(placeKey(place)));
    const sampled = (place: Place): boolean => this.kept.has(placeKey(place));
    const room = (exact: boolean): number => {
      const busy = [...this.running.values()].filter((one) => one.exact === exact).length;
      return Math.max(0, (exact ? AT_ONCE.exact : AT_ONCE.tiles) - busy);
    };
    for (const place of missing.filter((one) => !sampled(one)).slice(0, room(false))) void this.load(place, false);
    for (const place of missing.filter(sampled).slice(0, room(true))) void this.load(place, true);
  }

  private async load(place: Place, exact: boolean): Promise<void> {
    const key = placeKey(place);
    const controller = new AbortController();
    this.running.set(key, { controller, exact });
    try {
      const answer = await this.source.tile({ ...place, exact }, controller.signal);
      this.kept.set(key, answer);
      this.forget();
    } catch (error) {
      if (isAbort(error)) return;
      this.failed(error instanceof Error ? error.message : String(error));
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.start(), RETRY_MS);
      return;
    } finally {
      if (this.running.get(key)?.controller === controller) this.running.delete(key);
    }
    this.changed();
    this.start();
  }

  private forget(): void {
    const wanted = new Set(this.wanted.map(placeKey));
    for (const key of this.kept.keys()) {
      if (this.kept.size <= KEPT_TILES) return;
      if (!wanted.has(key)) this.kept.delete(key);
    }
  }
}

/** Rows and columns, each asked for once. */
export class Vectors {
  private readonly kept = new Map<string, Promise<Answer>>();

  constructor(private readonly source: Source) {}

  /** The mean of rows [start, end), or what every row gives to keys [start, end). */
  async get(what: "row" | "column", ask: StretchAsk, signal: AbortSignal): Promise<Answer> {
    const key = [what, ask.layer, ask.head, ask.start, ask.end].join("/");
    let answer = this.kept.get(key);
    if (!answer) {
      answer = this.source[what](ask, signal);
      this.kept.set(key, answer);
      answer.catch(() => this.kept.delete(key));
      if (this.kept.size > KEPT_VECTORS) this.kept.delete(this.kept.keys().next().value!);
    }
    try {
      return await answer;
    } catch (error) {
      // Someone else's wish was cancelled, not ours.
      if (isAbort(error) && !signal.aborted) return this.get(what, ask, signal);
      throw error;
    }
  }
}

/** Thumbnails, a few at a time, in the order in which they come into sight. */
export class Thumbnails {
  private readonly kept = new Map<string, Answer>();
  private readonly queue: { ask: HeadAsk; done: (answer: Answer) => void }[] = [];
  private readonly controller = new AbortController();
  private busy = 0;

  constructor(private readonly source: Source) {}

  ask(ask: HeadAsk, done: (answer: Answer) => void): void {
    const known = this.kept.get(`${ask.layer}/${ask.head}`);
    if (known) return done(known);
    this.queue.push({ ask, done });
    this.next();
  }

  /** Forget what has not begun. */
  clear(): void {
    this.queue.length = 0;
  }

  stop(): void {
    this.clear();
    this.controller.abort();
  }

  private next(): void {
    if (this.busy >= AT_ONCE.thumbnails) return;
    const wish = this.queue.shift();
    if (!wish) return;
    this.busy++;
    this.source
      .thumbnail(wish.ask, this.controller.signal)
      .then((answer) => {
        this.kept.set(`${wish.ask.layer}/${wish.ask.head}`, answer);
        wish.done(answer);
      })
      .catch(() => undefined) // an empty frame says it; the map itself tells why
      .finally(() => {
        this.busy--;
        this.next();
      });
  }
}
