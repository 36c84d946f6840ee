import { expect, test } from "vitest";
import { float32Tensor, type Tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { channelMoments } from "./channel-statistics.ts";

function doubled(opset: number): Model {
  const g = createGraphBuilder({ opset });
  const x = g.input("x", "float32", ["n", 2, "h", "w"]);
  g.output(g.node("Add", [x, x], {}, "y"), "float32", undefined);
  return g.build();
}

const batch = (shape: number[], values: number[]): ReadonlyMap<string, Tensor> =>
  new Map([["x", float32Tensor(shape, values)]]);

const values = [
  { name: "x", rank: 4 },
  { name: "y", rank: 4 },
];

test.each([13, 18])(
  "moments of an input and an inner value over unequal batches, opset %s",
  async (opset) => {
    const moments = await channelMoments(doubled(opset), await loadNodeRuntime(), values, [
      batch([1, 2, 1, 2], [1, 3, 10, 10]),
      batch([1, 2, 1, 1], [5, 13]),
    ]);
    // Channel 0: 1 3 5 → mean 3, variance 8/3. Channel 1: 10 10 13 → mean 11, variance (1 + 1 + 4)/3.
    const { mean, variance } = moments.get("x")!;
    expect([...mean].map((n) => Number(n.toFixed(5)))).toEqual([3, 11]);
    expect([...variance].map((n) => Number(n.toFixed(5)))).toEqual([2.66667, 2]);
    const y = moments.get("y")!;
    expect([...y.mean].map((n) => Number(n.toFixed(5)))).toEqual([6, 22]);
    expect([...y.variance].map((n) => Number(n.toFixed(4)))).toEqual([10.6667, 8]);
  },
);

test("no data is an error", async () => {
  const run = channelMoments(doubled(17), await loadNodeRuntime(), values, []);
  await expect(run).rejects.toThrow("expected at least one batch");
});
