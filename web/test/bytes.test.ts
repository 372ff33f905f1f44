import { expect, test } from "vitest";
import {
  fromBase64,
  fromBfloat16,
  fromFloat32,
  fromHalf,
  fromInt32,
  HALF_SCALE,
  halfToNumber,
  weightsFrom,
} from "../src/bytes";

const bytes = (...values: number[]): ArrayBuffer => Uint8Array.from(values).buffer;

test.each([
  [0x0000, 0],
  [0x8000, -0],
  [0x3c00, 1],
  [0xc000, -2],
  [0x7bff, 65504],
  [0x0400, 2 ** -14],
  [0x0001, 2 ** -24],
  [0x03ff, 1023 * 2 ** -24],
  [0x3555, 0.333251953125],
  [0x7c00, Infinity],
  [0xfc00, -Infinity],
])("half %i is %d", (bits, value) => expect(halfToNumber(bits)).toBe(value));

test("a half with a full exponent and a fraction is no number", () => expect(halfToNumber(0x7e01)).toBeNaN());

test("halves are little-endian and scaled", () => {
  expect([...fromHalf(bytes(0x00, 0x3c, 0x00, 0x78), 1 / HALF_SCALE)]).toEqual([1 / 32768, 1]);
});

test("bfloat16 is the upper half of float32", () => {
  expect([...fromBfloat16(bytes(0x80, 0x3f, 0x49, 0xc0))]).toEqual([1, -3.140625]);
});

test("float32 and int32 are little-endian", () => {
  expect([...fromFloat32(bytes(0, 0, 0x20, 0x41))]).toEqual([10]);
  expect([...fromInt32(bytes(0xff, 0xff, 0xff, 0xff, 1, 1, 0, 0))]).toEqual([-1, 257]);
});

test("base64", () => expect([...new Uint8Array(fromBase64("AP+AfwE="))]).toEqual([0, 255, 128, 127, 1]));

test("an answer of another length is refused", () => {
  expect(() => weightsFrom(bytes(0, 0, 0, 0), "float32", 2)).toThrow("Expected 2 numbers, found 1");
});
