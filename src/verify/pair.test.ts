import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { type Kernel, storedKernel } from "./kernel.ts";
import { pairKernels } from "./pair.ts";

function kernel(name: string, values: readonly number[], shape = [1, values.length]): Kernel {
  return storedKernel(
    `${name}.weight`,
    lazyTensor(float32Tensor(shape, values)),
    undefined,
    undefined,
  );
}

const summary = async (expected: Kernel[], found: Kernel[]): Promise<string[]> =>
  (await pairKernels(expected, found)).map(
    ({ expected: a, found: b, by }) => `${a.name} ${by} ${b?.name ?? "-"}`,
  );

test("a name that survived decides, even against the numbers", async () => {
  expect(
    await summary(
      [kernel("a", [1, 0]), kernel("b", [0, 1])],
      [kernel("a", [0, 1]), kernel("b", [1, 0])],
    ),
  ).toEqual(["a name a", "b name b"]);
});

test("a name with another shape is no counterpart", async () => {
  expect(await summary([kernel("a", [1, 0])], [kernel("a", [1, 0, 0])])).toEqual(["a none -"]);
});

test("without names the nearest first filter is taken, in any order", async () => {
  expect(
    await summary(
      [kernel("a", [1, 0]), kernel("b", [0, 1])],
      [kernel("x", [0.1, 1]), kernel("y", [1, 0.1])],
    ),
  ).toEqual(["a content y", "b content x"]);
});

test("what is not near is only a candidate, in order", async () => {
  // (0, 1) lies √2 of a length from (1, 0): more than half of it.
  expect(await summary([kernel("a", [1, 0])], [kernel("x", [0, 1])])).toEqual(["a order x"]);
  // Exactly half a length away is too far; less is near.
  expect(await summary([kernel("a", [1, 0])], [kernel("x", [1, 0.5])])).toEqual(["a order x"]);
  expect(await summary([kernel("a", [1, 0])], [kernel("x", [1, 0.49])])).toEqual(["a content x"]);
});

test("each candidate is used once", async () => {
  expect(await summary([kernel("a", [1, 0]), kernel("b", [1, 0])], [kernel("x", [1, 0])])).toEqual([
    "a content x",
    "b none -",
  ]);
});

test("filters of zeros are equal to filters of zeros only", async () => {
  expect(await summary([kernel("a", [0, 0])], [kernel("x", [1, 0]), kernel("y", [0, 0])])).toEqual([
    "a content y",
  ]);
});

test("kernels without elements pair in order", async () => {
  expect(await summary([kernel("a", [], [0, 3])], [kernel("x", [], [0, 3])])).toEqual([
    "a content x",
  ]);
});
