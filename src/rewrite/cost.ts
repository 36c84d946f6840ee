/**
 * @file What nodes cost: multiply-accumulates per output position and stored kernel numbers.
 *
 * Only kernels count. Per-channel vectors (biases, statistics) are left out on both sides: fusing never adds more
 * than one bias, and a vector is nothing beside a kernel.
 */

import { type Affine, tapCount } from "../algebra/affine.ts";
import type { Emission } from "../algebra/emit.ts";
import { elementCount } from "../core/tensor.ts";
import { isOp, type Node } from "../ir/graph.ts";
import type { Constant } from "./constants.ts";

export interface Cost {
  /** Multiply-accumulates per output position of the region (a position is one pixel of one image). */
  readonly macs: number;
  /** Kernel numbers stored. */
  readonly parameters: number;
}

export const NO_COST: Cost = { macs: 0, parameters: 0 };

export function addCost(a: Cost, b: Cost): Cost {
  return { macs: a.macs + b.macs, parameters: a.parameters + b.parameters };
}

/** Conv, Gemm, MatMul: the operators that carry a kernel as input 1. */
export function isLinearLayer(node: Node): boolean {
  return isOp(node, "Conv") || isOp(node, "Gemm") || isOp(node, "MatMul");
}

/** Kernel numbers of a linear layer; 0 for other operators. */
export function kernelSize(node: Node, constants: ReadonlyMap<string, Constant>): number {
  if (!isLinearLayer(node)) return 0;
  return elementCount(constants.get(node.inputs[1] ?? "")?.tensor.shape ?? [0]);
}

/** Cost of one node as it stands, per output position of `region`, whose strides may be larger than the node's. */
export function nodeCost(
  node: Node,
  meaning: Affine,
  region: Affine,
  constants: ReadonlyMap<string, Constant>,
): Cost {
  const parameters = kernelSize(node, constants);
  if (parameters === 0) return NO_COST;
  // A node before a stride runs on more positions than the region has outputs.
  const positions = region.axes.reduce(
    (product, axis, i) => product * (axis.stride / meaning.axes[i]!.stride),
    1,
  );
  return { macs: parameters * positions, parameters };
}

export function emissionCost(v: Affine, e: Emission): Cost {
  const kernel = e.outC * (e.inC / e.group) * tapCount(v.axes);
  return { macs: kernel, parameters: kernel };
}

/** Input lengths at which total costs are compared where the model does not fix them: small, odd, usual. */
const SAMPLE_LENGTHS = [16, 33, 224];

/**
 * Whether one convolution of `kernel` numbers makes more multiply-accumulates in all than the nodes, though not per
 * position: padding after the last kernel is cheap for the nodes, and computed by the convolution.
 */
export function costsMoreInAll(
  kernel: number,
  region: Affine,
  layers: readonly { readonly kernel: number; readonly meaning: Affine }[],
): boolean {
  return SAMPLE_LENGTHS.some((length) => {
    const sizes = region.axes.map((axis) => axis.size ?? length);
    const after = kernel * positionsAt(region, sizes);
    const before = layers.reduce(
      (sum, layer) => sum + layer.kernel * positionsAt(layer.meaning, sizes),
      0,
    );
    return after > before;
  });
}

function positionsAt(v: Affine, sizes: readonly number[]): number {
  return v.axes.reduce((product, axis, i) => {
    const length = Math.floor((sizes[i]! - 1 + axis.slack) / axis.stride) + 1;
    return product * Math.max(length, 0);
  }, 1);
}
