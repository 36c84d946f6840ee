/**
 * @file Convolution, matrix product and sums over constants: exporters leave them where a block composes its kernel
 * in `forward` (ECBSR's 1×1 ∘ 3×3, a central difference's kernel sum).
 */

import { elementCount, readFloat64, type Shape } from "../../core/tensor.ts";
import { convAttributes } from "../../ir/conv-attributes.ts";
import { intAttribute, nodeLabel } from "../../ir/graph.ts";
import { axisOf, computed, type Fold, forEachPosition, sizesFrom, stridesOf } from "./fold.ts";

/** Most multiply-accumulates of one folded product: a second or two. Kernels need 10⁴ to 10⁷. */
export const MAX_FOLDED_MACS: number = 2 ** 30;

const conv: Fold = async ({ node, inputs: [x, w, bias] }) => {
  if (!x || !w || x.tensor.shape.length !== w.tensor.shape.length) return undefined;
  const window = convAttributes(node, w.tensor.shape, nodeLabel(node));
  const [batch = 0, inC = 0, ...size] = x.tensor.shape;
  const [outC = 0, perGroup = 0, ...kernel] = w.tensor.shape;
  if (window.autoPad !== "NOTSET" || perGroup * window.group !== inC) return undefined;
  const out = size.map(
    (n, i) =>
      Math.floor(
        (n +
          window.beginPads[i]! +
          window.endPads[i]! -
          window.dilations[i]! * (kernel[i]! - 1) -
          1) /
          window.strides[i]!,
      ) + 1,
  );
  const shape: Shape = [batch, outC, ...out];
  const products = perGroup * elementCount(kernel);
  if (out.some((n) => n < 1) || elementCount(shape) * products > MAX_FOLDED_MACS) return undefined;
  const roundings = x.roundings + w.roundings + (bias ? bias.roundings + 1 : 0) + products;
  return computed(shape, x.dtype, roundings, async () => {
    const [xs, ws] = await Promise.all([readFloat64(x.tensor), readFloat64(w.tensor)]);
    const bs = bias && (await readFloat64(bias.tensor));
    const y = new Float64Array(elementCount(shape));
    const taps = positions(kernel);
    const places = positions(out);
    const image = elementCount(size);
    const imageStrides = stridesOf(size);
    const outPerGroup = outC / window.group;
    for (let at = 0; at < y.length; at++) {
      const place = places[at % places.length]!;
      const o = Math.floor(at / places.length) % outC;
      const n = Math.floor(at / (places.length * outC));
      let sum = bs?.[o] ?? 0;
      for (const [u, tap] of taps.entries()) {
        const from = place.map(
          (p, i) => p * window.strides[i]! + tap[i]! * window.dilations[i]! - window.beginPads[i]!,
        );
        if (from.some((p, i) => p < 0 || p >= size[i]!)) continue;
        const pixel = from.reduce((flat, p, i) => flat + p * imageStrides[i]!, 0);
        const firstIn = Math.floor(o / outPerGroup) * perGroup;
        for (let c = 0; c < perGroup; c++) {
          const weight = ws[(o * perGroup + c) * taps.length + u]!;
          sum += weight * xs[(n * inC + firstIn + c) * image + pixel]!;
        }
      }
      y[at] = sum;
    }
    return y;
  });
};

/** All positions of a shape in C order. */
function positions(shape: Shape): number[][] {
  const strides = stridesOf(shape);
  return Array.from({ length: elementCount(shape) }, (_, flat) =>
    shape.map((n, i) => Math.floor(flat / strides[i]!) % n),
  );
}

/** Matrices only; stacks of matrices are not kernels. */
const matMul: Fold = async ({ inputs: [a, b] }) => {
  if (!a || !b || a.tensor.shape.length !== 2 || b.tensor.shape.length !== 2) return undefined;
  const [rows = 0, inner = 0] = a.tensor.shape;
  const [innerB, columns = 0] = b.tensor.shape;
  if (inner !== innerB || rows * inner * columns > MAX_FOLDED_MACS) return undefined;
  return computed([rows, columns], a.dtype, a.roundings + b.roundings + inner, async () => {
    const [x, w] = await Promise.all([readFloat64(a.tensor), readFloat64(b.tensor)]);
    const y = new Float64Array(rows * columns);
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < inner; k++) {
        const factor = x[i * inner + k]!;
        for (let j = 0; j < columns; j++) {
          y[i * columns + j] = y[i * columns + j]! + factor * w[k * columns + j]!;
        }
      }
    }
    return y;
  });
};

function reduce(mean: boolean): Fold {
  return async (context) => {
    const [input, axesInput] = context.inputs;
    const axes = await sizesFrom(context, "axes", 1);
    if (!input || (axesInput && !axes)) return undefined;
    if (!axes && intAttribute(context.node, "noop_with_empty_axes", 0) === 1) return undefined;
    const { shape } = input.tensor;
    const listed = axes ? axes.map((axis) => axisOf(axis, shape.length)) : [...shape.keys()];
    const keep = intAttribute(context.node, "keepdims", 1) === 1;
    const count = listed.reduce<number>((product, axis) => product * (shape[axis ?? -1] ?? 0), 1);
    const full = shape.map((n, i) => (listed.includes(i) ? 1 : n));
    const strides = stridesOf(full).map((stride, i) => (listed.includes(i) ? 0 : stride));
    const result = keep ? full : shape.filter((_, i) => !listed.includes(i));
    return computed(result, input.dtype, input.roundings + count, async () => {
      const values = await readFloat64(input.tensor);
      const sums = new Float64Array(elementCount(full));
      forEachPosition(shape, strides, 0, (from, to) => {
        sums[to] = sums[to]! + values[from]!;
      });
      return mean ? sums.map((sum) => sum / count) : sums;
    });
  };
}

export const LINEAR_FOLDS: Readonly<Record<string, Fold>> = {
  Conv: conv,
  MatMul: matMul,
  ReduceMean: reduce(true),
  ReduceSum: reduce(false),
};
