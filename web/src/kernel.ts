// The source behind a notebook's kernel: questions and binary answers as custom messages of an anywidget.

import { weightsFrom } from "./bytes";
import { sizeOf, thumbnailSize, type Size } from "./pyramid";
import type { Scene } from "./scene";
import type { Answer, Source, Status } from "./source";

const PATIENCE_MS = 60_000;

/** What is used of an anywidget model (https://anywidget.dev/en/afm). */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, listener: (...parts: never[]) => void): void;
  off(event: string, listener: (...parts: never[]) => void): void;
}

type Message =
  | { type: "answer"; id: number; rows_read?: number; rows_total?: number; error?: string }
  | { type: "status"; progress?: number; busy?: boolean };
type Waiting = {
  kind: "float32" | "half";
  expected: number;
  resolve(answer: Answer): void;
  reject(reason: unknown): void;
};

/** Answer from the kernel behind a widget's model. */
export function over(scene: Scene, model: Model): Source {
  const map: Size = { rows: scene.n_rows, cols: scene.n_keys };
  const line = new Line(model);
  return {
    name: "widget",
    tile: (ask, signal) => {
      const size = sizeOf(map, ask);
      return line.ask("tile", ask, ask.level ? "half" : "float32", size.rows * size.cols, signal);
    },
    row: (ask, signal) => line.ask("row", ask, "float32", map.cols, signal),
    column: (ask, signal) => line.ask("column", ask, "float32", map.rows, signal),
    thumbnail: (ask, signal) => {
      const size = thumbnailSize(map);
      return line.ask("thumbnail", ask, "half", size.rows * size.cols, signal);
    },
    watch: (tell) => line.watch(tell),
  };
}

class Line {
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;
  private tell: (status: Status) => void = () => {};
  private silence: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly model: Model) {}

  ask(
    what: string,
    parameters: object,
    kind: "float32" | "half",
    expected: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        if (!this.waiting.delete(id)) return;
        this.model.send({ type: "cancel", id });
        reject(signal.reason);
      };
      const done = (): void => signal.removeEventListener("abort", stop);
      signal.addEventListener("abort", stop, { once: true });
      this.waiting.set(id, {
        kind,
        expected,
        resolve: (answer) => (done(), resolve(answer)),
        reject: (reason) => (done(), reject(reason)),
      });
      this.model.send({ type: "ask", id, what, ...parameters });
      this.listenForSilence();
    });
  }

  watch(tell: (status: Status) => void): () => void {
    this.tell = tell;
    const hear = (message: Message, buffers: DataView[]): void => this.hear(message, buffers);
    this.model.on("msg:custom", hear);
    return () => {
      this.model.off("msg:custom", hear);
      clearTimeout(this.silence);
      this.tell = () => {};
    };
  }

  private hear(message: Message, buffers: DataView[]): void {
    clearTimeout(this.silence);
    if (message.type === "status") {
      this.tell({
        state: message.busy ? "busy" : "ok",
        ...(message.progress === undefined ? {} : { progress: message.progress }),
      });
    } else if (message.type === "answer") {
      this.tell({ state: "ok" });
      this.deliver(message, buffers);
    }
    if (this.waiting.size) this.listenForSilence();
  }

  private deliver(message: Message & { type: "answer" }, buffers: DataView[]): void {
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (!waiting) return; // cancelled meanwhile
    if (message.error !== undefined || !buffers.length) {
      waiting.reject(new Error(message.error ?? "The kernel answered without numbers."));
      return;
    }
    try {
      const { buffer, byteOffset, byteLength } = buffers[0];
      const values = weightsFrom(
        (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength),
        waiting.kind,
        waiting.expected,
      );
      waiting.resolve({ values, rowsRead: message.rows_read ?? 0, rowsTotal: message.rows_total ?? 0 });
    } catch (error) {
      waiting.reject(error);
    }
  }

  private listenForSilence(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(
      () => this.tell({ state: "lost", says: "The kernel does not answer: it is busy or gone. Run the cell again." }),
      PATIENCE_MS,
    );
  }
}
