/** @file Certificate C on nets of a few numbers, where what moves and by how much can be done by hand. */

import { describe, expect, test } from "vitest";
import { UNIT_ROUNDOFF } from "../core/dtype.ts";
import { float32Tensor, type LazyTensor, lazyTensor, type Tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder, type GraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import { type FunctionOptions, functionCertificate } from "./function.ts";

const runtime = await loadNodeRuntime();
const X = new Map([["x", float32Tensor([2, 3], [1, -2, 3, 0.5, 4, -1])]]);

const f32 = (shape: readonly number[], values: readonly number[]): LazyTensor =>
  lazyTensor(float32Tensor(shape, values));

/** `y = x · diagonal(scale) + shift` */
function linear(
  scale: readonly number[],
  shift: readonly number[] = [0.3, 0.1, -0.7],
  more: (g: GraphBuilder, y: string) => string[] = (_, y) => [y],
  inputName = "x",
): Model {
  const g = createGraphBuilder();
  const x = g.input(inputName, "float32", [2, 3]);
  const matrix = scale.flatMap((value, i) => [0, 1, 2].map((j) => (i === j ? value : 0)));
  const product = g.node("MatMul", [x, g.initializer("w", f32([3, 3], matrix))], {}, "product");
  const y = g.node("Add", [product, g.initializer("b", f32([3], shift))], {}, "y");
  for (const output of more(g, y)) g.output(output, "float32", undefined);
  return g.build();
}

const SCALE = [0.9, 1.3, -0.6];

function certificate(
  training: Model,
  deploy: Model,
  options: Partial<FunctionOptions> = {},
  inputs: ReadonlyMap<string, Tensor> = X,
) {
  const given = { runtime, provedRoundings: 1, replicas: 9, ...options };
  return functionCertificate(training, deploy, inputs, given);
}

describe("functionCertificate", () => {
  test("the same net: nothing moves, and the noise is there all the same", async () => {
    const { passed, outputs, inputs, replicas, ...rest } = await certificate(
      linear(SCALE),
      linear(SCALE),
    );
    expect(passed).toBe(true);
    expect([replicas, inputs, rest.runtime]).toEqual([
      9,
      [{ name: "x", shape: [2, 3] }],
      runtime.name,
    ]);
    const [y] = outputs;
    expect(y).toMatchObject({ name: "y", shape: [2, 3], conversionError: 0, ratio: 0, rho: 1 });
    expect(y!.metrics.maxAbsError).toBe(0);
    expect(y!.decisions).toMatchObject({ agreeing: 2, total: 2 });
    // Parameters and outputs are about 1, so one rounding of each moves outputs by some 2⁻²⁴.
    expect(y!.noiseMax).toBeGreaterThan(2 ** -28);
    expect(y!.noiseMax).toBeLessThan(2 ** -20);
    expect(y!.noiseMedian).toBeLessThanOrEqual(y!.noiseMax);
  });

  test("one weight moved by a thousandth is rejected, and the difference is measured", async () => {
    const moved = [SCALE[0]! * 1.001, ...SCALE.slice(1)];
    const { passed, outputs } = await certificate(linear(SCALE), linear(moved));
    expect(passed).toBe(false);
    // Both weights are rounded to float32 first: 2 · 2⁻²⁵ · 0.46 is below 5e-8.
    // The first column moves by 0.0009·x, x being 1 and 0.5: √((0.0009² + 0.00045²)/6) over six numbers.
    expect(outputs[0]!.conversionError).toBeCloseTo(Math.sqrt((0.0009 ** 2 + 0.00045 ** 2) / 6), 7);
    expect(outputs[0]!.ratio).toBeGreaterThan(100);
  });

  test("a proof of k roundings widens the limit by k, and by no more", async () => {
    const moved = linear([SCALE[0]! * (1 + 2 ** -18), ...SCALE.slice(1)]);
    const strict = await certificate(linear(SCALE), moved);
    expect(strict.passed).toBe(false);
    const { ratio } = strict.outputs[0]!;
    const scaled = await certificate(linear(SCALE), moved, { provedRoundings: 4 });
    expect(scaled.outputs[0]!.ratio).toBeCloseTo(ratio / 4, 10);
    const enough = await certificate(linear(SCALE), moved, { provedRoundings: Math.ceil(ratio) });
    expect(enough.passed).toBe(true);
  });

  test("roundings of a half precision excuse what those of float32 do not", async () => {
    const moved = linear([SCALE[0]! * (1 + UNIT_ROUNDOFF.float16 / 4), ...SCALE.slice(1)]);
    expect((await certificate(linear(SCALE), moved)).passed).toBe(false);
    const half = await certificate(linear(SCALE), moved, { roundingFormat: "float16" });
    expect(half.passed).toBe(true);
  });

  test("the same replicas give the same noise", async () => {
    const [a, b] = [
      await certificate(linear(SCALE), linear(SCALE)),
      await certificate(linear(SCALE), linear(SCALE)),
    ];
    expect(a.outputs[0]!.noiseMax).toBe(b.outputs[0]!.noiseMax);
  });

  test("inputs of the deploy form go by their place, not by their name", async () => {
    const deploy = linear(SCALE, undefined, undefined, "image");
    expect((await certificate(linear(SCALE), deploy)).passed).toBe(true);
  });

  test("another number of inputs is refused", async () => {
    const g = createGraphBuilder();
    const [a, b] = [g.input("x", "float32", [2, 3]), g.input("z", "float32", [2, 3])];
    g.output(g.node("Add", [a, b], {}, "y"), "float32", [2, 3]);
    await expect(certificate(linear(SCALE), g.build())).rejects.toMatchObject({
      tag: "refused",
      what: "the training form has 1 inputs, the deploy form 2",
    });
  });

  test("another number of outputs, or another shape, does not pass and is said", async () => {
    const two = linear(SCALE, undefined, (g, y) => [y, g.node("Relu", [y], {}, "z")]);
    expect(await certificate(linear(SCALE), two)).toMatchObject({
      passed: false,
      outputs: [],
      outputMismatch: "the training form has 1 outputs, the deploy form 2",
    });
    const turned = linear(SCALE, undefined, (g, y) => [
      g.node("Transpose", [y], { perm: [1, 0] }, "t"),
    ]);
    expect((await certificate(linear(SCALE), turned)).outputMismatch).toBe(
      "output y is [2, 3] in the training form and [3, 2] in the deploy form",
    );
  });

  test("one of several outputs that differs is enough", async () => {
    const both = (shift: readonly number[]) =>
      linear(SCALE, shift, (g, y) => [g.node("MatMul", ["x", "w"], {}, "first"), y]);
    const { passed, outputs } = await certificate(both([0, 0, 0]), both([0, 0, 1]));
    expect(outputs.map(({ name, ratio }) => [name, ratio > 1])).toEqual([
      ["first", false],
      ["y", true],
    ]);
    expect(passed).toBe(false);
  });

  test("stops between replicas, and releases its sessions", async () => {
    const controller = new AbortController();
    let open = 0;
    const counted: Runtime = {
      ...runtime,
      createSession: async (...args) => {
        const session = await runtime.createSession(...args);
        open++;
        return {
          ...session,
          release: async () => {
            open--;
            await session.release();
          },
        };
      },
    };
    const labels: string[] = [];
    const task = certificate(linear(SCALE), linear(SCALE), {
      runtime: counted,
      signal: controller.signal,
      onProgress: ({ label }) => {
        labels.push(label);
        if (label === "replica 3 of 9") controller.abort();
      },
    });
    await expect(task).rejects.toMatchObject({ tag: "aborted" });
    expect(labels.at(-1)).toBe("replica 3 of 9");
    expect(open).toBe(0);
  });
});
