import { beforeAll, describe, expect, test } from "vitest";
import { float32View } from "../core/dtype.ts";
import { float32Tensor, lazyTensor, type Tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import { type DropoutMask, drawMask } from "./dropout.ts";
import { buildStepGraph } from "./step-graph.ts";
import { createStepper } from "./stepper.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await loadNodeRuntime();
});

/** y = dropout(x)·W with x `[n, 2]` and W `[2, 1]`. */
function model(ratio: number | "computed" | undefined, useMask = false): Model {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", ["n", 2]);
  const inputs = [x];
  if (ratio === "computed") inputs.push(g.node("ReduceMean", [x], { keepdims: 0 }));
  else if (ratio !== undefined) {
    inputs.push(g.initializer("ratio", lazyTensor(float32Tensor([], [ratio]))));
  }
  const [kept = "", mask = ""] = g.nodeWithOutputs("Dropout", inputs, 2, {}, "drop");
  const weight = g.initializer("weight", lazyTensor(float32Tensor([2, 1], [3, 5])));
  let y = g.node("MatMul", [kept, weight]);
  if (useMask) y = g.node("Add", [y, g.node("Cast", [mask], { to: 1 })]);
  g.output(y, "float32", undefined);
  return g.build();
}

const OPTIONS = { batch: 2, loss: { type: "mse" }, optimizer: { type: "sgd" } } as const;

describe("Dropout in training", () => {
  test("multiplies by the mask it is fed, and so does its gradient", async () => {
    const graph = await buildStepGraph({ ...OPTIONS, model: model(0.75), exposeGradient: true });
    expect(graph.dropouts).toEqual([{ input: "dropout_mask_0", shape: [2, 2], ratio: 0.75 }]);
    const session = await runtime.createSession(graph.model);
    const inputs = new Map<string, Tensor>([
      ["x", float32Tensor([2, 2], [1, 2, 3, 4])],
      ["dropout_mask_0", float32Tensor([2, 2], [4, 0, 0, 4])],
      ["target", float32Tensor([2, 1], [10, 70])],
      ["parameters", float32Tensor([2], [3, 5])],
      ["velocity", float32Tensor([2], [0, 0])],
      ["learning_rate", float32Tensor([], [1])],
    ]);
    const outputs = await session.run(inputs);
    await session.release();
    // Kept: (4, 0) and (0, 16), so y = (12, 80), errors (2, 10): loss (4 + 100)/2; dW = 2/2 · (2·4, 10·16).
    expect(float32View(outputs.get("loss")!.bytes)[0]).toBe(52);
    expect([...float32View(outputs.get("gradient")!.bytes)]).toEqual([8, 160]);
  });

  test("a ratio of 0 and none at all: nothing to draw, and ONNX's default of one half", async () => {
    expect((await buildStepGraph({ ...OPTIONS, model: model(0) })).dropouts).toEqual([]);
    const [mask] = (await buildStepGraph({ ...OPTIONS, model: model(undefined) })).dropouts;
    expect(mask?.ratio).toBe(0.5);
  });

  test.each([
    [1, false, "drop (Dropout): its ratio is 1, expected 0 up to below 1"],
    [Number.NaN, false, "its ratio is NaN"],
    ["computed", false, "its ratio is computed"],
    [0.5, true, "its mask is used by other nodes"],
  ] as const)("ratio %s, mask used: %s: refused by name", async (ratio, useMask, message) => {
    const building = buildStepGraph({ ...OPTIONS, model: model(ratio, useMask) });
    await expect(building).rejects.toThrow(message);
  });

  test("masks keep the mean, and follow from the seed, the batch and the node", () => {
    const mask: DropoutMask = { input: "m", shape: [1000, 100], ratio: 0.3 };
    const values = drawMask(mask, 1, 2, 3);
    expect([...new Set(values)].sort()).toEqual([0, Math.fround(1 / 0.7)]);
    const zeros = values.filter((value) => value === 0).length;
    // √(0.3 · 0.7 / 10⁵) = 0.00145; six of those.
    expect(Math.abs(zeros / 1e5 - 0.3)).toBeLessThan(0.0087);
    expect(drawMask(mask, 1, 2, 3)).toEqual(values);
    for (const other of [
      drawMask(mask, 2, 2, 3),
      drawMask(mask, 1, 3, 3),
      drawMask(mask, 1, 2, 4),
    ]) {
      const same = other.filter((value, i) => value === values[i]).length;
      // Independent masks agree on 0.3² + 0.7² = 0.58 of the elements, ± 6 · √(0.58 · 0.42 / 10⁵).
      expect(Math.abs(same / 1e5 - 0.58)).toBeLessThan(0.0094);
    }
  });

  test("the step draws another mask per batch, and the same ones in a second run", async () => {
    const losses = async (seed: number): Promise<number[]> => {
      const stepper = await createStepper({
        ...OPTIONS,
        batch: 64,
        model: model(0.5),
        runtime,
        seed,
      });
      const x = Float32Array.from({ length: 128 }, (_, i) => (i % 7) - 3);
      const target = float32Tensor([64, 1], Array<number>(64).fill(0));
      const seen: number[] = [];
      for (const step of [1, 2]) {
        // A rate of 0 leaves the weights, so only the mask can change the loss.
        const metrics = await stepper.run(x, target, { learningRate: 0, step, emaDecay: 0 }, {});
        seen.push(metrics.loss);
      }
      await stepper.release();
      return seen;
    };
    const [a, b, c] = [await losses(1), await losses(1), await losses(2)];
    expect(b).toEqual(a);
    expect(a[0]).not.toBe(a[1]);
    expect(c).not.toEqual(a);
  });
});
