// Attention weights from what a page carries: recomputed from q, k and lse by the score rule, or unpacked.
//
//     p[r, t] = exp(s - lse[r]),   s = scale · q[r]·k[t],   capped: softcap · tanh(s / softcap)

import { fromBase64, fromBfloat16, fromFloat32, fromHalf, fromInt32, HALF_SCALE } from "./bytes";
import type { Size } from "./pyramid";

export type MaskData = { kind: "causal" } | { kind: "full" } | { kind: "intervals"; start: string; end: string };
export type FactorsData = {
  form: "factors";
  dtype: "float32" | "float16" | "bfloat16";
  width: number;
  kv: number[];
  scale: number;
  softcap: number | null;
  mask: MaskData;
  q: string;
  k: string;
  lse: string;
};
export type WeightsData = { form: "weights"; dtype: "float32" | "half"; mask: MaskData; weights: string };
export type LayerData = FactorsData | WeightsData;
/** What a page carries: the attention of each layer. */
export type Data = { layers: Record<string, LayerData> };

/** Keys [start[r], end[r]) are what row r sees. */
export type Mask = { start: Int32Array; end: Int32Array };

/** One layer: any stretch of a row of any head. */
export interface LayerWeights {
  readonly mask: Mask;
  /** Write p[row, from … to) of the head at that place into out[at …]; the whole stretch must be visible. */
  fill(head: number, row: number, from: number, to: number, out: Float32Array, at: number): void;
}

export function maskOf(data: MaskData, map: Size): Mask {
  if (data.kind === "intervals")
    return { start: fromInt32(fromBase64(data.start)), end: fromInt32(fromBase64(data.end)) };
  const start = new Int32Array(map.rows);
  const end = new Int32Array(map.rows).map((_, row) => (data.kind === "full" ? map.cols : Math.min(row + 1, map.cols)));
  return { start, end };
}

export function layerOf(data: LayerData, map: Size): LayerWeights {
  return data.form === "factors" ? factors(data, map) : packed(data, map);
}

function factors(data: FactorsData, map: Size): LayerWeights {
  const read = { float32: fromFloat32, float16: fromHalf, bfloat16: fromBfloat16 }[data.dtype];
  const q = read(fromBase64(data.q));
  const k = read(fromBase64(data.k));
  const lse = fromFloat32(fromBase64(data.lse));
  const { width, scale, softcap, kv } = data;
  const fill: LayerWeights["fill"] = (head, row, from, to, out, at) => {
    const query = (head * map.rows + row) * width;
    const norm = lse[head * map.rows + row];
    let key = (kv[head] * map.cols + from) * width;
    for (let t = from; t < to; t++) {
      let score = 0;
      for (let d = 0; d < width; d++) score += q[query + d] * k[key++];
      score *= scale;
      if (softcap !== null) score = softcap * Math.tanh(score / softcap);
      out[at++] = Math.exp(score - norm);
    }
  };
  return { mask: maskOf(data.mask, map), fill };
}

function packed(data: WeightsData, map: Size): LayerWeights {
  const bytes = fromBase64(data.weights);
  const weights = data.dtype === "half" ? fromHalf(bytes, 1 / HALF_SCALE) : fromFloat32(bytes);
  const mask = maskOf(data.mask, map);
  const first = new Float64Array(map.rows + 1);
  for (let row = 0; row < map.rows; row++) first[row + 1] = first[row] + Math.max(0, mask.end[row] - mask.start[row]);
  const fill: LayerWeights["fill"] = (head, row, from, to, out, at) => {
    const begin = head * first[map.rows] + first[row] - mask.start[row];
    out.set(weights.subarray(begin + from, begin + to), at);
  };
  return { mask, fill };
}
