/** @file Recorded outputs against both forms: which of them made one, and what cannot be compared. */

import { describe, expect, test } from "vitest";
import { checkpointFile, mobileOneNet } from "../../test/support/diagnosis-nets.ts";
import type { OnnxFile } from "../convert/open.ts";
import { float32Tensor, lazyTensor, type Tensor, tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { compareGolden } from "./golden.ts";

const runtime = await loadNodeRuntime();
const INPUT = float32Tensor([1, 2], [3, -5]);

/** `sum = factor · (x₀ + x₁)`, after `scaled = factor · x`. */
function scaling(name: string, factor: number): OnnxFile {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", [1, 2]);
  const by = g.initializer("factor", lazyTensor(float32Tensor([1], [factor])));
  const scaled = g.node("Mul", [x, by], {}, "scaled");
  g.output(scaled, "float32", [1, 2]);
  const axes = g.initializer("axes", lazyTensor(tensor("int64", [1], BigInt64Array.of(1n))));
  g.output(g.node("ReduceSum", [scaled, axes], { keepdims: 1 }, "sum"), "float32", [1, 1]);
  return { kind: "onnx", name, model: g.build(), reading: {} };
}

const training = scaling("train.onnx", 2);
const deploy = scaling("deploy.onnx", 2.5);
const compare = (expected: Tensor, input: Tensor = INPUT) =>
  compareGolden(training, deploy, { input, expected }, runtime);

describe("compareGolden", () => {
  test("the training form's output: no error there, the difference on the other side", async () => {
    const compared = await compare(float32Tensor([1, 2], [6, -10]));
    expect(compared.output).toBe("scaled");
    expect(compared.training).toMatchObject({ maxAbsError: 0, maxAbs: 10 });
    // 2.5 · −5 = −12.5 against −10
    expect(compared.deploy.maxAbsError).toBe(2.5);
  });

  test("the deploy form's output, the other way round", async () => {
    const compared = await compare(float32Tensor([1, 2], [7.5, -12.5]));
    expect([compared.training.maxAbsError, compared.deploy.maxAbsError]).toEqual([2.5, 0]);
  });

  test("neither's: both errors are there", async () => {
    const compared = await compare(float32Tensor([1, 2], [0, 0]));
    expect([compared.training.maxAbsError, compared.deploy.maxAbsError]).toEqual([10, 12.5]);
  });

  test("goes by the recorded shape to the output that has it", async () => {
    const compared = await compare(float32Tensor([1, 1], [-4]));
    expect(compared).toMatchObject({ output: "sum", training: { maxAbsError: 0 } });
    // 2.5 · (3 − 5) = −5
    expect(compared.deploy.maxAbsError).toBe(1);
  });

  test("recorded in another type", async () => {
    const compared = await compare(tensor("float64", [1, 2], Float64Array.of(6, -10)));
    expect(compared.training.maxAbsError).toBe(0);
  });

  test("no output has the shape: usage, with the shapes there are", async () => {
    await expect(compare(float32Tensor([2, 1], [6, -10]))).rejects.toMatchObject({
      tag: "usage",
      where: "golden output",
      what: "its shape is [2, 1], the model's outputs are scaled [1, 2], sum [1, 1]",
    });
  });

  test("a net that is not known is refused with its file's name", async () => {
    const unknown = checkpointFile("mobileone.pth", (await mobileOneNet(3)).state);
    const golden = { input: INPUT, expected: float32Tensor([1, 2], [6, -10]) };
    for (const [first, second] of [
      [unknown, deploy],
      [training, unknown],
    ] as const) {
      await expect(compareGolden(first, second, golden, runtime)).rejects.toMatchObject({
        tag: "refused",
        where: "mobileone.pth",
        fix: expect.stringContaining("leave --golden out"),
      });
    }
  });

  test("a net without an input is refused", async () => {
    const g = createGraphBuilder();
    const one = g.initializer("one", lazyTensor(float32Tensor([1], [1])));
    g.output(g.node("Identity", [one], {}, "y"), "float32", [1]);
    const still: OnnxFile = { kind: "onnx", name: "still.onnx", model: g.build(), reading: {} };
    const golden = { input: INPUT, expected: INPUT };
    await expect(compareGolden(still, deploy, golden, runtime)).rejects.toThrow(
      "still.onnx: it has no input",
    );
  });
});
