/** @file Conv, AveragePool and Gemm. The identities are in `algebra/convolve.ts`. */

import { type Affine, type AffineAxis, fixedLength, type Refused } from "../../algebra/affine.ts";
import { averagePool, type ConvAxis, convolve } from "../../algebra/convolve.ts";
import { convAttributes, poolAttributes, type Window } from "../../ir/conv-attributes.ts";
import { intAttribute, nodeLabel } from "../../ir/graph.ts";
import { type Rule, refuse, single, toParameter } from "./context.ts";

export const convRule: Rule = async (context) => {
  const v = context.operand(0);
  const weight = context.constant(1);
  if (!v || !weight) return refuse("the weight is not a constant");
  const biasName = context.node.inputs[2];
  const bias = biasName ? context.constant(2) : undefined;
  if (biasName && !bias) return refuse("the bias is not a constant");
  const attributes = convAttributes(context.node, weight.tensor.shape, nodeLabel(context.node));
  const axes = windowAxes(attributes, v);
  if ("refused" in axes) return axes;
  const [outC = 0, perGroup = 0] = weight.tensor.shape;
  if (perGroup * attributes.group !== v.outC) {
    return refuse(
      `the weight expects ${perGroup * attributes.group} input channels, the value has ${v.outC}`,
    );
  }
  if (bias && (bias.tensor.shape.length !== 1 || bias.tensor.shape[0] !== outC)) {
    return refuse(`the bias is [${bias.tensor.shape.join(", ")}], expected [${outC}]`);
  }
  return single(
    convolve(v, {
      outC,
      group: attributes.group,
      axes,
      weight: toParameter(weight),
      bias: bias && toParameter(bias),
    }),
  );
};

export const averagePoolRule: Rule = async (context) => {
  const v = context.operand(0);
  if (!v) return refuse("it pools a constant");
  const attributes = poolAttributes(context.node, v.axes.length, nodeLabel(context.node));
  const axes = windowAxes(attributes, v);
  if ("refused" in axes) return axes;
  const padded = axes.some((axis) => axis.beginPad > 0 || axis.endPad > 0);
  if (padded && intAttribute(context.node, "count_include_pad", 0) === 0) {
    return refuse("the average leaves the padding out, so its divisor changes at the border");
  }
  if (intAttribute(context.node, "ceil_mode", 0) === 1) {
    const cut = axes.find((axis, i) => mayCutWindow(axis, v.axes[i]!));
    if (cut) {
      return refuse(
        `ceil_mode with stride ${cut.stride} cuts the last window for some input sizes, so its divisor changes there`,
      );
    }
  }
  return single(averagePool(v, axes));
};

/** Whether the last window of `ceil_mode` may reach beyond the padding. */
function mayCutWindow(axis: ConvAxis, input: AffineAxis): boolean {
  if (axis.stride === 1) return false;
  const length = fixedLength(input);
  if (length === undefined) return true;
  const steps = length + axis.beginPad + axis.endPad - axis.dilation * (axis.kernel - 1) - 1;
  return steps % axis.stride !== 0;
}

/** Pads resolved per axis; `auto_pad` SAME is a number where stride is 1 or the length is fixed. */
function windowAxes(window: Window, v: Affine): ConvAxis[] | Refused {
  const axes: ConvAxis[] = [];
  if (window.kernelShape.length !== v.axes.length) {
    return refuse(
      `its kernel has ${window.kernelShape.length} spatial axes, the value has ${v.axes.length}`,
    );
  }
  for (const [i, kernel] of window.kernelShape.entries()) {
    const stride = window.strides[i]!;
    const dilation = window.dilations[i]!;
    let beginPad = window.beginPads[i]!;
    let endPad = window.endPads[i]!;
    if (window.autoPad !== "NOTSET") {
      const total = samePadding({ kernel, stride, dilation }, v.axes[i]!);
      if (total === undefined) {
        return refuse(`auto_pad ${window.autoPad} with stride ${stride} depends on the input size`);
      }
      const small = Math.floor(total / 2);
      [beginPad, endPad] =
        window.autoPad === "SAME_UPPER" ? [small, total - small] : [total - small, small];
    }
    axes.push({ kernel, stride, dilation, beginPad, endPad });
  }
  return axes;
}

/** Both pads of `auto_pad` SAME, so that the output has ⌈L/stride⌉ positions. */
function samePadding(
  { kernel, stride, dilation }: Pick<ConvAxis, "kernel" | "stride" | "dilation">,
  input: AffineAxis,
): number | undefined {
  const reach = dilation * (kernel - 1);
  if (stride === 1) return reach;
  const length = fixedLength(input);
  if (length === undefined) return undefined;
  return Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach + 1 - length);
}
