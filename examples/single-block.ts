/** @file The single block of RepVGG issue 23 as an ONNX model in training form. */

import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  type Model,
  type Node,
  type OnnxFile,
} from "../src/index.ts";

const [IN, OUT, GROUPS] = [32, 64, 8] as const;

/**
 * 32 → 64 channels, 3×3 and 1×1 branch with stride 2 and 8 groups, no identity. `norm` is γ and β of both batch norms;
 * running mean 0 and variance 1 as constructed; kernels as PyTorch initialises them, uniform within ±1 / √fanIn.
 */
export function singleBlockModel(norm: readonly [number, number]): OnnxFile {
  const initializers = new Map<string, LazyTensor>();
  let state = 1;
  // A linear congruential generator is random enough for weights.
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const kernel = (name: string, size: number): void => {
    const shape = [OUT, IN / GROUPS, size, size];
    const bound = 1 / Math.sqrt((IN / GROUPS) * size * size);
    const values = Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => bound * (2 * next() - 1),
    );
    initializers.set(name, lazyTensor(float32Tensor(shape, values)));
  };
  const perChannel = (name: string, value: number): void => {
    initializers.set(name, lazyTensor(float32Tensor([OUT], Array<number>(OUT).fill(value))));
  };
  const branch = (name: string, size: number): Node[] => {
    kernel(`${name}.conv.weight`, size);
    const names = ["weight", "bias", "running_mean", "running_var"].map((n) => `${name}.bn.${n}`);
    for (const [i, value] of [...norm, 0, 1].entries()) perChannel(names[i]!, value);
    const pads = (size - 1) / 2;
    const conv = node("Conv", ["x", `${name}.conv.weight`], `${name}.conv`, {
      kernel_shape: [size, size],
      strides: [2, 2],
      pads: [pads, pads, pads, pads],
      group: GROUPS,
    });
    return [conv, node("BatchNormalization", [`${name}.conv`, ...names], `${name}.bn`, {})];
  };
  const model: Model = {
    irVersion: 8,
    opsets: new Map([["", 17]]),
    producerName: "",
    producerVersion: "",
    metadata: new Map(),
    graph: {
      name: "block",
      inputs: [{ name: "x", dtype: "float32", shape: ["N", IN, "H", "W"] }],
      outputs: [{ name: "y", dtype: "float32", shape: ["N", OUT, "H2", "W2"] }],
      nodes: [
        ...branch("rbr_dense", 3),
        ...branch("rbr_1x1", 1),
        node("Add", ["rbr_dense.bn", "rbr_1x1.bn"], "y", {}),
      ],
      initializers,
      valueInfos: new Map(),
    },
  };
  return { kind: "onnx", name: "block.onnx", model, reading: {} };
}

function node(
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes: Readonly<Record<string, number | readonly number[]>>,
): Node {
  return {
    opType,
    domain: "",
    name: output,
    inputs,
    outputs: [output],
    attributes: new Map(
      Object.entries(attributes).map(([key, value]) => [
        key,
        typeof value === "number" ? { type: "int", value } : { type: "ints", value },
      ]),
    ),
  };
}
