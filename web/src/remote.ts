// The source behind a tile server: binary answers over fetch, tried again while the server is busy, told when it is lost.

import { weightsFrom } from "./bytes";
import { sizeOf, thumbnailSize, type Size } from "./pyramid";
import type { Scene } from "./scene";
import type { Answer, Source, Status } from "./source";

const BUSY_MS = 1000;
const POLL_MS = { pending: 2000, idle: 15000 };

/** Answer from the server at `base` (an address relative to the page); `trace` is the id the page was made with. */
export function remote(scene: Scene, base: string, trace?: string): Source {
  const map: Size = { rows: scene.n_rows, cols: scene.n_keys };
  const health = new Health(base, trace);

  const ask = async (
    what: string,
    parameters: object,
    kind: "float32" | "half",
    expected: number,
    signal: AbortSignal,
  ): Promise<Answer> => {
    const response = await health.during(() => patiently(`${base}${what}?${query(parameters)}`, signal));
    const values = weightsFrom(await response.arrayBuffer(), kind, expected);
    const [rowsRead, rowsTotal] = (response.headers.get("X-Heed-Rows") ?? "0/0").split("/").map(Number);
    return { values, rowsRead, rowsTotal };
  };

  return {
    name: "remote",
    tile: (tile, signal) => {
      const size = sizeOf(map, tile);
      return ask(
        "tile",
        { ...tile, exact: Number(tile.exact) },
        tile.level ? "half" : "float32",
        size.rows * size.cols,
        signal,
      );
    },
    row: (row, signal) => ask("row", row, "float32", map.cols, signal),
    column: (column, signal) => ask("column", column, "float32", map.rows, signal),
    thumbnail: (head, signal) => {
      const size = thumbnailSize(map);
      return ask("thumbnail", head, "half", size.rows * size.cols, signal);
    },
    watch: (tell) => health.watch(tell),
  };
}

function query(parameters: object): string {
  return new URLSearchParams(Object.entries(parameters).map(([key, value]) => [key, String(value)])).toString();
}

async function patiently(address: string, signal: AbortSignal): Promise<Response> {
  for (;;) {
    const response = await fetch(address, { signal, credentials: "same-origin" });
    if (response.ok) return response;
    if (response.status !== 503) throw new Error(await reason(response));
    await wait(BUSY_MS, signal);
  }
}

async function reason(response: Response): Promise<string> {
  const said = (await response.json().catch(() => null)) as { error?: unknown } | null;
  return typeof said?.error === "string" ? said.error : `The server answered ${response.status}.`;
}

export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** Whether the server is there and still has the trace; asks more often while answers are awaited. */
class Health {
  private pending = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tell: (status: Status) => void = () => {};

  constructor(
    private readonly base: string,
    private readonly trace: string | undefined,
  ) {}

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.pending++;
    try {
      return await work();
    } catch (error) {
      if (error instanceof TypeError) this.soon(0); // fetch could not reach anyone
      throw error;
    } finally {
      this.pending--;
    }
  }

  watch(tell: (status: Status) => void): () => void {
    this.tell = tell;
    this.soon(POLL_MS.pending);
    return () => {
      this.tell = () => {};
      clearTimeout(this.timer);
      this.timer = undefined;
    };
  }

  private soon(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), ms);
  }

  private async look(): Promise<void> {
    const tell = this.tell;
    try {
      const response = await fetch(`${this.base}status`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      tell(response.ok ? this.judge(await response.json()) : { state: "lost", says: await reason(response) });
    } catch {
      tell({ state: "lost", says: "The server cannot be reached. What was loaded stays; this page keeps trying." });
    }
    if (tell === this.tell) this.soon(this.pending ? POLL_MS.pending : POLL_MS.idle);
  }

  private judge(found: { trace?: string; busy?: boolean; progress?: number }): Status {
    if (this.trace && found.trace && found.trace !== this.trace)
      return { state: "lost", says: "The server now serves another trace: open its own address." };
    return { state: found.busy ? "busy" : "ok", ...(found.progress === undefined ? {} : { progress: found.progress }) };
  }
}
