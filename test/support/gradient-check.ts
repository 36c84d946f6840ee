/**
 * @file Compares gradients with central differences, both in float64.
 *
 * For L(x) = Σ r·f(x) and a direction d: (L(x + h·d) − L(x − h·d)) / 2h = ⟨∇L, d⟩ + h²/6·L‴ + rounding. With h = 2⁻¹³,
 * |d| ≤ 1 and third derivatives up to 10 times the first, the truncation is below 10·2⁻²⁶/6 ≈ 2.5e-8 of Σ|gᵢ·dᵢ|; the
 * rounding of L is below 1e-12. Constants the rules write into the graph are float32 (before it is raised to float64),
 * each off by at most 2⁻²⁴ ≈ 6e-8; fewer than ten meet in one product. So 1e-6 · Σ|gᵢ·dᵢ| holds with room, and a wrong
 * rule is off by far more.
 */

import { expect } from "vitest";
import { createRng, type Rng } from "../../src/core/rng.ts";
import { elementCount, lazyTensor, type Shape, tensor } from "../../src/core/tensor.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import { type AttributeInputs, createGraphBuilder } from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";
import { createReference, type Reference } from "../../src/runtime/reference.ts";
import { differentiate } from "../../src/train/differentiate.ts";
import { createEmitter } from "../../src/train/emitter.ts";
import { emitForward } from "../../src/train/forward.ts";
import { inferStaticShapes } from "../../src/train/static-shapes.ts";
import { mul, reduceSum } from "../../src/train/vocabulary.ts";

const STEP = 2 ** -13;
const TOLERANCE = 1e-6;
const DIRECTIONS = 2;

/** An operand: differentiated values of a shape, or constants. */
export type CheckOperand =
  | { readonly shape: Shape; readonly low?: number; readonly high?: number }
  | { readonly ints: readonly number[] }
  | { readonly index: number }
  | { readonly floats: readonly number[] }
  | undefined;

export interface GradientCheck {
  readonly opType: string;
  readonly operands: readonly CheckOperand[];
  readonly attributes?: AttributeInputs;
  /** Number of outputs. Default 1; all of them enter the loss. */
  readonly outputs?: number;
  readonly opset?: number;
  readonly seed?: number;
}

/** Checks every differentiable operand of one node. The first operand is the model's input. */
export async function checkGradient(check: GradientCheck): Promise<void> {
  const { opType, operands, attributes = {}, outputs = 1, opset = 17, seed = 1 } = check;
  const rng = createRng(seed);
  const g = createGraphBuilder({ opset });
  const values = new Map<string, Float64Array>();
  const names = operands.map((operand, i) => {
    if (operand === undefined) return "";
    const name = i === 0 ? "x" : `p${i}`;
    if ("ints" in operand) {
      const data = BigInt64Array.from(operand.ints, BigInt);
      return g.initializer(name, lazyTensor(tensor("int64", [data.length], data)));
    }
    if ("index" in operand) {
      const data = BigInt64Array.of(BigInt(operand.index));
      return g.initializer(name, lazyTensor(tensor("int64", [], data)));
    }
    if ("floats" in operand) {
      const shape = operand.floats.length === 1 ? [] : [operand.floats.length];
      return g.initializer(
        name,
        lazyTensor(tensor("float32", shape, Float32Array.from(operand.floats))),
      );
    }
    const { shape, low = -2, high = 2 } = operand;
    const data = randomFloats(rng, shape, low, high);
    values.set(name, data);
    if (i === 0) return g.input(name, "float32", shape);
    return g.initializer(name, lazyTensor(tensor("float32", shape, Float32Array.from(data))));
  });
  const made = g.nodeWithOutputs(opType, names, outputs, attributes, "y");
  for (const output of made) g.output(output, "float32", undefined);
  await checkModelGradient(g.build(), values, made, rng, `${opType} ${JSON.stringify(attributes)}`);
}

/** Checks the gradients of `Σ r·output` for all named values (the input and initializers) of a model. */
export async function checkModelGradient(
  model: Model,
  values: ReadonlyMap<string, Float64Array>,
  outputs: readonly string[],
  rng: Rng,
  label: string,
): Promise<void> {
  const input = model.graph.inputs[0]!;
  const { shapes } = await inferStaticShapes(model, Number(input.shape?.[0]), undefined);
  const e = createEmitter({
    dtype: "float32",
    name: "check",
    opset: Math.max(17, model.opsets.get("") ?? 0),
  });
  const bound = new Map(
    [...values.keys()].map((name) => [name, e.input(name, "float32", shapes.get(name)!)]),
  );
  const feeds = new Map(values);
  const seeds = new Map<string, string>();
  // All outputs share one tape: the last node is needed for each of them.
  const forward = await emitForward(e, {
    model,
    shapes,
    bound,
    trained: new Set(values.keys()),
    output: outputs[0]!,
  });
  const losses = outputs.map((output, i) => {
    const value = forward.value(output);
    const weights = e.input(`r${i}`, "float32", e.shape(value));
    feeds.set(`r${i}`, randomFloats(rng, e.shape(value), -1, 1));
    seeds.set(value, weights);
    const product = mul(e, value, weights);
    return reduceSum(
      e,
      product,
      e.shape(product).map((_, axis) => axis),
      false,
    );
  });
  const targets = [...bound.values()];
  const gradients = differentiate(e, {
    tape: forward.tape,
    seeds,
    targets,
    constants: forward.constants,
  });
  for (const value of [...losses, ...gradients.values()]) e.output(value, "float32");
  const checked = e.builder.build();
  const feedShapes = new Map(checked.graph.inputs.map((info) => [info.name, info.shape as Shape]));
  const reference = await createReference(checked, await loadNodeRuntime(), feedShapes, {
    threads: 1,
  });
  try {
    const results = await reference.run(feeds);
    for (const [name, value] of bound) {
      const gradient = results.get(gradients.get(value) ?? "");
      expect(gradient?.shape, `${label}: shape of the gradient of ${name}`).toEqual(
        shapes.get(name),
      );
      for (let k = 0; k < DIRECTIONS; k++) {
        const direction = randomFloats(rng, shapes.get(name)!, -1, 1);
        const numeric = await slope(reference, losses, feeds, name, direction);
        let exact = 0;
        let magnitude = 0;
        for (const [i, d] of direction.entries()) {
          exact += gradient!.data[i]! * d;
          magnitude += Math.abs(gradient!.data[i]! * d);
        }
        const message = `${label}: gradient of ${name}: ${exact}, central difference ${numeric}`;
        expect(Math.abs(exact - numeric), message).toBeLessThanOrEqual(
          TOLERANCE * magnitude + 1e-11,
        );
      }
    }
  } finally {
    await reference.release();
  }
}

async function slope(
  reference: Reference,
  losses: readonly string[],
  feeds: ReadonlyMap<string, Float64Array>,
  name: string,
  direction: Float64Array,
): Promise<number> {
  const at = async (step: number): Promise<number> => {
    const moved = feeds.get(name)!.map((value, i) => value + step * direction[i]!);
    const results = await reference.run(new Map(feeds).set(name, moved));
    return losses.reduce((sum, loss) => sum + results.get(loss)!.data[0]!, 0);
  };
  return ((await at(STEP)) - (await at(-STEP))) / (2 * STEP);
}

/** float32 values, so that a model can hold them exactly. */
export function randomFloats(rng: Rng, shape: Shape, low: number, high: number): Float64Array {
  return Float64Array.from({ length: elementCount(shape) }, () =>
    Math.fround(rng.uniform(low, high)),
  );
}
