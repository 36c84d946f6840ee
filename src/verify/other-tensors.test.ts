import { describe, expect, test } from "vitest";
import { float32Tensor, int64Tensor, type LazyTensor, lazyTensor, tensor } from "../core/tensor.ts";
import { compareTensors } from "./other-tensors.ts";

const f32 = (shape: readonly number[], ...values: number[]): LazyTensor =>
  lazyTensor(float32Tensor(shape, values));
const map = (entries: Record<string, LazyTensor>): Map<string, LazyTensor> =>
  new Map(Object.entries(entries));

describe("compareTensors", () => {
  test("equal by name, different by name, missing and surplus", async () => {
    const training = map({ a: f32([2], 1, 2), b: f32([2], 3, 4), c: f32([2], 5, 6) });
    const deploy = map({ a: f32([2], 1, 2), b: f32([2], 3, 4.5), d: f32([2], 7, 8) });
    const result = await compareTensors(training, deploy);
    expect(result).toMatchObject({ equal: ["a"], missing: ["c"], surplus: ["d"] });
    expect(result.different.map((one) => one.name)).toEqual(["b"]);
    expect(result.different[0]?.deviation.maxAbsError).toBe(0.5);
  });

  test("bits count: −0 is not 0", async () => {
    const { different } = await compareTensors(map({ a: f32([1], 0) }), map({ a: f32([1], -0) }));
    expect(different.map((one) => one.name)).toEqual(["a"]);
  });

  test("the width of a type does not matter where the numbers are the same, or were rounded once", async () => {
    const f64 = (value: number): LazyTensor =>
      lazyTensor(tensor("float64", [1], Float64Array.of(value)));
    const compare = (a: LazyTensor, b: LazyTensor) => compareTensors(map({ a }), map({ a: b }));
    expect((await compare(f64(1.5), f32([1], 1.5))).equal).toEqual(["a"]);
    expect((await compare(f32([1], 1.5), f64(1.5))).equal).toEqual(["a"]);
    expect((await compare(f64(0.1), f32([1], Math.fround(0.1)))).equal).toEqual(["a"]);
    // 0.1 is no float32 number, so nobody can have got it from one.
    expect((await compare(f32([1], Math.fround(0.1)), f64(0.1))).different).toHaveLength(1);
    expect((await compare(f64(0.1), f32([1], Math.fround(0.1) + 2 ** -27))).different).toHaveLength(
      1,
    );
  });

  test("a tensor of another name is found by its bits, axes of length 1 apart", async () => {
    const result = await compareTensors(
      map({ slope: f32([3], 1, 2, 3) }),
      map({ p7: f32([3, 1, 1], 1, 2, 3) }),
    );
    expect(result).toMatchObject({ equal: ["slope"], missing: [], surplus: [] });
  });

  test("a matrix may be stored with its axes exchanged", async () => {
    const training = map({ "fc.weight": f32([2, 3], 1, 2, 3, 4, 5, 6) });
    const turned = await compareTensors(training, map({ m: f32([3, 2], 1, 4, 2, 5, 3, 6) }));
    expect(turned.equal).toEqual(["fc.weight"]);
    const wrong = await compareTensors(training, map({ m: f32([3, 2], 1, 2, 3, 4, 5, 6) }));
    expect(wrong.missing).toEqual(["fc.weight"]);
  });

  test("one deploy tensor stands for several only where constants are shared", async () => {
    const training = map({ mean: f32([2], 0, 0), beta: f32([2], 0, 0) });
    const deploy = map({ zeros: f32([2], 0, 0) });
    expect((await compareTensors(training, deploy)).missing).toEqual(["beta"]);
    expect((await compareTensors(training, deploy, { shared: true })).missing).toEqual([]);
  });

  test("batch counters say nothing about the function", async () => {
    const counter = "bn.num_batches_tracked";
    const training = map({ [counter]: lazyTensor(int64Tensor([], [7])) });
    for (const deploy of [map({}), map({ [counter]: lazyTensor(int64Tensor([], [9])) })]) {
      expect(await compareTensors(training, deploy)).toMatchObject({
        different: [],
        missing: [],
        surplus: [],
      });
    }
  });

  test("rounded to a narrower format, and only that", async () => {
    const training = map({ w: f32([2], 1 / 3, 0.1) });
    const half = map({ w: f32([2], 0.333251953125, 0.0999755859375) }); // the nearest float16 numbers
    expect((await compareTensors(training, half)).different[0]?.lowered).toBe("float16");
    const other = map({ w: f32([2], 0.3330078125, 0.0999755859375) }); // the next but one below
    expect((await compareTensors(training, other)).different[0]?.lowered).toBeUndefined();
  });

  test("bytes at any alignment are compared", async () => {
    const odd = (last: number): LazyTensor => {
      const bytes = new Uint8Array(9);
      bytes[8] = last;
      return { dtype: "float32", shape: [2], read: async () => bytes.subarray(1) };
    };
    const training = map({ a: odd(0) });
    expect((await compareTensors(training, map({ a: odd(0) }))).equal).toEqual(["a"]);
    expect((await compareTensors(training, map({ a: odd(64) }))).different).toHaveLength(1);
  });
});
