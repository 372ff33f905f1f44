// Bytes into numbers: base64, IEEE halves, bfloat16. All little-endian, whatever the machine.

/** Halves of weights are stored times this, so that 2e-9 to 1 keep 11 bits. */
export const HALF_SCALE = 32768;

export function fromBase64(text: string): ArrayBuffer {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

/** IEEE 754 binary16, from its 16 bits. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let halves: Float32Array | undefined;

/** All 65,536 halves, made once: a table is ten times as fast as the arithmetic. */
function table(): Float32Array {
  if (!halves) {
    halves = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) halves[bits] = halfToNumber(bits);
  }
  return halves;
}

/** `factor` times the halves in a buffer. */
export function fromHalf(buffer: ArrayBuffer, factor = 1): Float32Array {
  const view = new DataView(buffer);
  const known = table();
  const out = new Float32Array(buffer.byteLength >> 1);
  for (let i = 0; i < out.length; i++) out[i] = known[view.getUint16(2 * i, true)] * factor;
  return out;
}

export function fromBfloat16(buffer: ArrayBuffer): Float32Array {
  const view = new DataView(buffer);
  const out = new Float32Array(buffer.byteLength >> 1);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < out.length; i++) bits[i] = view.getUint16(2 * i, true) << 16;
  return out;
}

export function fromFloat32(buffer: ArrayBuffer): Float32Array {
  const view = new DataView(buffer);
  const out = new Float32Array(buffer.byteLength >> 2);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
  return out;
}

export function fromInt32(buffer: ArrayBuffer): Int32Array {
  const view = new DataView(buffer);
  const out = new Int32Array(buffer.byteLength >> 2);
  for (let i = 0; i < out.length; i++) out[i] = view.getInt32(4 * i, true);
  return out;
}

/** The weights of an answer over the wire: floats where they are exact, halves where they aggregate. */
export function weightsFrom(buffer: ArrayBuffer, kind: "float32" | "half", expected: number): Float32Array {
  const values = kind === "float32" ? fromFloat32(buffer) : fromHalf(buffer, 1 / HALF_SCALE);
  if (values.length !== expected)
    throw new Error(`Expected ${expected} numbers, found ${values.length}: page and server are of different versions.`);
  return values;
}
