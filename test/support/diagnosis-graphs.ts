/** @file The diagnosis nets as graphs of both forms, with a squeeze-and-excitation in one block and two outputs. */

import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, lazyTensor } from "../../src/core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";
import { applyPlan } from "../../src/rewrite/apply.ts";
import { planReparam } from "../../src/rewrite/plan.ts";
import type { DiagnosisNet } from "./diagnosis-nets.ts";
import type { PlainBlock, PlainBranch } from "./plain-fuse.ts";

export interface GraphNet {
  readonly training: Model;
  /** Fused by the project's own tools. */
  readonly deploy: Model;
}

const CLASSES = 5;

/** Blocks of `net` one after another, pooled, and a linear head; outputs `y` and `features`. */
export async function graphNet(net: DiagnosisNet, seed: number, size: number): Promise<GraphNet> {
  const rng = createRng(seed);
  const g = createGraphBuilder();
  let value = g.input("x", "float32", ["N", 3, size, size]);
  for (const [i, block] of net.blocks.entries()) {
    value = addBlock(g, block, value);
    if (i === 1) value = addSqueeze(g, block, value, () => rng.normal());
    value = g.node("Relu", [value], {}, `${block.prefix}.act`);
  }
  const { outC } = net.blocks.at(-1)!;
  const pooled = g.node("GlobalAveragePool", [value], {}, "gap");
  const features = g.node("Flatten", [pooled], {}, "features");
  const weights = Array.from({ length: CLASSES * outC }, () => rng.normal());
  const head = g.initializer("head.weight", lazyTensor(float32Tensor([CLASSES, outC], weights)));
  g.output(g.node("Gemm", [features, head], { transB: 1 }, "y"), "float32", ["N", CLASSES]);
  g.output(features, "float32", ["N", outC]);
  const training = g.build();
  return { training, deploy: applyPlan(training, await planReparam(training)).model };
}

function addBlock(g: GraphBuilder, block: PlainBlock, x: string): string {
  const stride = strideOf(block);
  const terms = block.branches.map((branch) => {
    const conv = branch.weight ? addConv(g, block, branch, x, stride) : x;
    return addNorm(g, block, branch, conv);
  });
  const [first, ...rest] = terms as [string, ...string[]];
  return rest.reduce(
    (sum, term, i) => g.node("Add", [sum, term], {}, `${block.prefix}.add.${i}`),
    first,
  );
}

/** Blocks without identity halve the map, where they look around themselves. */
function strideOf(block: PlainBlock): number {
  const hasIdentity = block.branches.some(({ role }) => role === "identity");
  return !hasIdentity && block.kernel > 1 ? 2 : 1;
}

function addConv(
  g: GraphBuilder,
  block: PlainBlock,
  branch: PlainBranch,
  x: string,
  stride: number,
): string {
  const name = `${block.prefix}.${branch.name}.conv`;
  const { outC, inC, group } = block;
  const { kernel: k } = branch;
  const shape = [outC, inC / group, k, k];
  const weight = g.initializer(`${name}.weight`, lazyTensor(float32Tensor(shape, branch.weight!)));
  const pad = (k - 1) / 2;
  return g.node(
    "Conv",
    [x, weight],
    { kernel_shape: [k, k], pads: [pad, pad, pad, pad], strides: [stride, stride], group },
    name,
  );
}

function addNorm(g: GraphBuilder, block: PlainBlock, { name, bn }: PlainBranch, x: string): string {
  const path = `${block.prefix}.${name}.bn`;
  const vector = (word: string, values: Float64Array): string =>
    g.initializer(`${path}.${word}`, lazyTensor(float32Tensor([values.length], values)));
  const inputs = [
    vector("weight", bn.gamma),
    vector("bias", bn.beta),
    vector("running_mean", bn.mean),
    vector("running_var", bn.variance),
  ];
  return g.node("BatchNormalization", [x, ...inputs], { epsilon: { float: bn.epsilon } }, path);
}

/** x · sigmoid(W·relu(V·mean(x))) */
function addSqueeze(
  g: GraphBuilder,
  { prefix, outC }: PlainBlock,
  x: string,
  normal: () => number,
): string {
  const hidden = 4;
  const conv = (name: string, from: string, shape: readonly number[]): string => {
    const values = Array.from({ length: shape[0]! * shape[1]! }, normal);
    const weight = g.initializer(`${name}.weight`, lazyTensor(float32Tensor(shape, values)));
    return g.node("Conv", [from, weight], { kernel_shape: [1, 1] }, name);
  };
  const pooled = g.node("GlobalAveragePool", [x], {}, `${prefix}.se.pool`);
  const down = conv(`${prefix}.se.down`, pooled, [hidden, outC, 1, 1]);
  const relu = g.node("Relu", [down], {}, `${prefix}.se.relu`);
  const up = conv(`${prefix}.se.up`, relu, [outC, hidden, 1, 1]);
  const gate = g.node("Sigmoid", [up], {}, `${prefix}.se.gate`);
  return g.node("Mul", [x, gate], {}, `${prefix}.se`);
}
