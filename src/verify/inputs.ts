/**
 * @file Inputs for certificate C when the user gives none: signed noise, image-like values and impulses. All-positive
 * noise alone would hardly exercise a ReLU, and smooth images hardly the borders.
 */

import { ReparamError } from "../core/errors.ts";
import { createRng } from "../core/rng.ts";
import { elementCount, formatShape, type Shape, type Tensor, tensor } from "../core/tensor.ts";
import { type Dim, graphInputs, type Model, type ValueInfo } from "../ir/graph.ts";

export interface GeneratedInputOptions {
  /** Shape of the first input, where the model leaves sizes open. */
  readonly shape?: Shape | undefined;
  readonly seed?: number | undefined;
}

/** Open sizes: four images (one of each kind), and the smallest size that keeps 2×2 positions after a stride of 32. */
const DEFAULT_BATCH = 4;
const DEFAULT_SIZE = 64;

/** One tensor per model input. @throws usage when an input's rank or type leaves nothing to generate */
export function generateInputs(
  model: Model,
  { shape, seed = 1 }: GeneratedInputOptions = {},
): Map<string, Tensor> {
  return new Map(
    graphInputs(model.graph).map((input, i) => {
      const dims = i === 0 && shape ? givenShape(input, shape) : openShape(input);
      if (input.dtype === "float32" || input.dtype === "float16" || input.dtype === "float64") {
        return [input.name, tensor("float32", dims, noise(dims, seed + i))];
      }
      throw cannotGenerate(input, `its type is ${input.dtype ?? "not a tensor"}`);
    }),
  );
}

function givenShape(input: ValueInfo, shape: Shape): Shape {
  const fits =
    input.shape === undefined ||
    (input.shape.length === shape.length &&
      input.shape.every((dim, axis) => typeof dim !== "number" || dim === shape[axis]));
  if (fits) return shape;
  throw new ReparamError("usage", {
    where: `input ${input.name}`,
    what: `shape ${formatShape(shape)} was given, the model takes ${formatShape(input.shape ?? [])}`,
  });
}

function openShape(input: ValueInfo): Shape {
  if (!input.shape) throw cannotGenerate(input, "its shape is not declared");
  return input.shape.map((dim: Dim, axis) => {
    if (typeof dim === "number" && dim > 0) return dim;
    if (axis === 0) return DEFAULT_BATCH;
    if (axis >= 2) return DEFAULT_SIZE;
    throw cannotGenerate(input, "its channel count is not declared");
  });
}

function cannotGenerate(input: ValueInfo, why: string): ReparamError {
  return new ReparamError("usage", {
    where: `input ${input.name}`,
    what: `no test input can be generated: ${why}`,
    fix: "Give one with --input x.npy or its shape with --input 1x3x224x224",
  });
}

/** Image 0 signed normal, 1 uniform in [0, 1), 2 impulses, 3 signed normal times 3; then again. */
function noise(shape: Shape, seed: number): Float32Array {
  const rng = createRng(seed);
  const count = elementCount(shape);
  const perImage = Math.max(1, count / Math.max(1, shape[0] ?? 1));
  return Float32Array.from({ length: count }, (_, i) => {
    switch (Math.floor(i / perImage) % 4) {
      case 1:
        return rng.next();
      case 2:
        return rng.next() < 1 / 64 ? rng.normal() * 4 : 0;
      case 3:
        return rng.normal() * 3;
      default:
        return rng.normal();
    }
  });
}
