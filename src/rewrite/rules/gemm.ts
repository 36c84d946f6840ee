/**
 * @file Gemm and MatMul of `[N, K]` with a constant matrix: a convolution without spatial axes.
 *
 *     alpha · x · B + beta · C
 */

import { isRefused } from "../../algebra/affine.ts";
import { convolve } from "../../algebra/convolve.ts";
import { constantParameter, type Parameter } from "../../algebra/parameter.ts";
import { scale, shift } from "../../algebra/scale-shift.ts";
import { floatAttribute, intAttribute } from "../../ir/graph.ts";
import { channelParameter, type Rule, refuse, single, toParameter } from "./context.ts";

export const gemmRule: Rule = async (context) => {
  const v = context.operand(0);
  const matrix = context.constant(1);
  if (!v || !matrix) return refuse("its matrix is not a constant");
  if (v.axes.length > 0) return refuse("it reads a value with spatial axes");
  const { shape } = matrix.tensor;
  if (shape.length !== 2) return refuse(`its matrix is [${shape.join(", ")}], expected two axes`);
  if (intAttribute(context.node, "transA", 0) !== 0) return refuse("it transposes the value");
  const transposed = intAttribute(context.node, "transB", 0) !== 0;
  const [outC, inC] = transposed ? [shape[0]!, shape[1]!] : [shape[1]!, shape[0]!];
  if (inC !== v.outC) {
    return refuse(`its matrix expects ${inC} features, the value has ${v.outC}`);
  }
  const stored = toParameter(matrix);
  const product = convolve(v, {
    outC,
    group: 1,
    axes: [],
    weight: transposed ? stored : transpose(stored, inC, outC),
    bias: undefined,
  });
  if (isRefused(product)) return product;
  const alpha = floatAttribute(context.node, "alpha", 1);
  const scaled = alpha === 1 ? product : scale(product, constantParameter("alpha", outC, alpha));
  if (!context.node.inputs[2]) return [scaled];
  const addend = context.constant(2);
  const bias = addend && channelParameter(addend, scaled);
  if (!bias) return refuse("its third input is not a constant per feature");
  const beta = floatAttribute(context.node, "beta", 1);
  return single(shift(scaled, beta === 1 ? bias : times(bias, beta)));
};

function times(parameter: Parameter, factor: number): Parameter {
  return {
    ...parameter,
    roundings: parameter.roundings + 1,
    read: async (begin, end) => (await parameter.read(begin, end)).map((value) => value * factor),
  };
}

/** Rows of the transposed of a `[inC, outC]` matrix: each row of it is read once, and only the columns asked for. */
function transpose(stored: Parameter, inC: number, outC: number): Parameter {
  return {
    ...stored,
    read: async (begin, end) => {
      const [first, last] = [Math.floor(begin / inC), Math.ceil(end / inC)];
      const columns = last - first;
      const rows = new Float64Array(columns * inC);
      for (let k = 0; k < inC; k++) {
        const part = await stored.read(k * outC + first, k * outC + last);
        for (let o = 0; o < columns; o++) rows[o * inC + k] = part[o]!;
      }
      return rows.slice(begin - first * inC, end - first * inC);
    },
  };
}
