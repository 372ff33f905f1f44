import { expect, test } from "vitest";
import { fromHash, initial, Store, toHash } from "../src/state";
import { sceneOf } from "./scenes";
import numbers from "./numbers.json";

const scene = sceneOf(numbers.cases[0], { spans: [{ name: "data", start: 2, end: 9 }] });

test("what was never touched is not in the address", () => expect(toHash(initial(scene), scene)).toBe(""));

test("an address gives back the state it was made from", () => {
  const state = {
    ...initial(scene),
    view: "tokens",
    head: 6,
    from: 4,
    to: 9,
    key: 2,
    scale: "rank",
    sinks: "drop",
    query: "a & b=#ü",
    x: 1.5,
    zoom: 12,
  } as const;
  expect(fromHash("#" + toHash(state, scene), scene)).toEqual(state);
});

test("an address that makes no sense here is passed over", () => {
  const usual = initial(scene);
  expect(fromHash("view=flow&layer=99&head=77&scale=cubic&zoom=-3&x=abc&statistic=none&from=x", scene)).toEqual(usual);
  expect(fromHash("%E0%A4%A&=&&view", scene)).toEqual(usual);
});

test("a choice stays on the map", () => {
  expect(fromHash("from=9999&to=1&key=9999", scene)).toMatchObject({ from: 62, to: 63, key: 62 });
});

test("a store tells what changed, and only then", () => {
  const store = new Store(initial(scene), scene);
  const heard: string[][] = [];
  const off = store.on((_, changed) => heard.push([...changed].sort()));
  store.choose(3, 5, 1);
  store.choose(3, 5, 1);
  off();
  store.set({ layer: 4 });
  expect(heard).toEqual([["from", "key", "to"]]);
});
