/**
 * @file Dropout in training: y = x · m with m = 1/(1 − r) where an element is kept (probability 1 − r), else 0, as PyTorch
 * defines it. The masks are inputs of the step, drawn from the seed and the batch's number, so runs can be repeated and resumed.
 */

import { createRng } from "../core/rng.ts";
import { elementCount, type Shape } from "../core/tensor.ts";
import type { Node } from "../ir/graph.ts";
import { mixSeed } from "./batches.ts";
import { refuseNode } from "./gradients/rule.ts";

/** One mask that a step is fed with. */
export interface DropoutMask {
  /** Name of the graph input. */
  readonly input: string;
  readonly shape: Shape;
  /** Share of zeros. */
  readonly ratio: number;
}

/** ONNX's default. */
const DEFAULT_RATIO = 0.5;

/**
 * The ratio of a Dropout (opset 12 and later), which its graph states even though it passes its input through.
 *
 * @param constants decoded constants by the model's value names
 * @throws refused for a ratio that is computed or no share, and for a mask that is used
 */
export function dropoutRatio(
  node: Node,
  constants: (value: string) => readonly number[] | undefined,
  used: ReadonlySet<string>,
): number {
  const [, ratioInput = ""] = node.inputs;
  const ratio = ratioInput === "" ? DEFAULT_RATIO : constants(ratioInput)?.[0];
  if (ratio === undefined) throw refuseNode(node, "its ratio is computed, expected a constant");
  if (!(ratio >= 0 && ratio < 1)) {
    throw refuseNode(node, `its ratio is ${ratio}, expected 0 up to below 1`);
  }
  const [, mask = ""] = node.outputs;
  if (ratio > 0 && used.has(mask)) throw refuseNode(node, "its mask is used by other nodes");
  return ratio;
}

/** The mask's values for one batch of the run. */
export function drawMask(
  { shape, ratio }: DropoutMask,
  seed: number,
  batch: number,
  index: number,
): Float32Array {
  const rng = createRng(mixSeed(seed, batch, index, 2));
  const kept = 1 / (1 - ratio);
  return Float32Array.from({ length: elementCount(shape) }, () => (rng.next() < ratio ? 0 : kept));
}
