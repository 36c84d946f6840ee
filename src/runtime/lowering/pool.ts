/**
 * @file AveragePool and the global pools ⇒ Pad, Slice, Sum, Div; ReduceSum, ReduceMax. (MaxPool has a double kernel.)
 *
 *     y[p] = Σ_t x̃[stride·p + dilation·t] / count[p]
 *
 * The window sum is taken axis by axis. `count` is the number of window positions on the input, or with
 * `count_include_pad` on the padded input; what `ceil_mode` adds behind the padding never counts (ONNX 19, PyTorch).
 */

import { elementCount } from "../../core/tensor.ts";
import { intAttribute, intsAttribute, type Node } from "../../ir/graph.ts";
import type { LoweringContext } from "./context.ts";
import { type Windows, windowsOf } from "./windows.ts";

export function lowerAveragePool(ctx: LoweringContext, node: Node): void {
  const [x = ""] = node.inputs;
  const spatial = ctx.shapeOf(x).slice(2);
  const kernel = intsAttribute(node, "kernel_shape");
  if (kernel?.length !== spatial.length)
    throw ctx.refuse(node, "kernel_shape does not fit the input");
  const windows = windowsOf(node, spatial, kernel);
  // The end is padded to just where the last window ends, be it further out (ceil_mode) or further in.
  const end = windows.output.map(
    (o, i) =>
      (o - 1) * windows.strides[i]! +
      windows.dilations[i]! * (kernel[i]! - 1) +
      1 -
      spatial[i]! -
      windows.padBegin[i]!,
  );
  let sum = ctx.pad(
    x,
    2,
    windows.padBegin,
    end.map((n) => Math.max(n, 0)),
  );
  kernel.forEach((k, i) => {
    const taps = Array.from({ length: k }, (_, t) =>
      ctx.slice(
        sum,
        [i + 2],
        [t * windows.dilations[i]!],
        [windows.output[i]!],
        [windows.strides[i]!],
      ),
    );
    sum = taps.length === 1 ? taps[0]! : ctx.emit("Sum", taps);
  });
  const counts = windowCounts(windows, spatial, intAttribute(node, "count_include_pad", 0) === 1);
  ctx.emit("Div", [sum, ctx.floats(counts, windows.output)], {}, node.outputs[0]!);
}

/** Positions per window that count: `[...output]`. */
function windowCounts(
  windows: Windows,
  spatial: readonly number[],
  withPadding: boolean,
): Float64Array {
  const { kernel, strides, dilations, padBegin, padEnd, output } = windows;
  let counts = [1];
  output.forEach((o, i) => {
    const low = withPadding ? -padBegin[i]! : 0;
    const high = withPadding ? spatial[i]! + padEnd[i]! : spatial[i]!;
    const axis = Array.from({ length: o }, (_, p) => {
      const start = p * strides[i]! - padBegin[i]!;
      let count = 0;
      for (let t = 0; t < kernel[i]!; t++) {
        const at = start + t * dilations[i]!;
        if (at >= low && at < high) count++;
      }
      return count;
    });
    counts = counts.flatMap((outer) => axis.map((inner) => outer * inner));
  });
  return Float64Array.from(counts);
}

export function lowerGlobalAveragePool(ctx: LoweringContext, node: Node): void {
  const [x = ""] = node.inputs;
  const spatial = ctx.shapeOf(x).slice(2);
  const sum = ctx.sum(
    x,
    spatial.map((_, i) => i + 2),
  );
  ctx.emit("Div", [sum, ctx.scalar(elementCount(spatial))], {}, node.outputs[0]!);
}

export function lowerGlobalMaxPool(ctx: LoweringContext, node: Node): void {
  const [x = ""] = node.inputs;
  const axes = ctx
    .shapeOf(x)
    .map((_, i) => i)
    .slice(2);
  // ReduceMax takes its axes as an attribute before opset 18.
  if (ctx.opset < 18) ctx.emit("ReduceMax", [x], { axes, keepdims: 1 }, node.outputs[0]!);
  else ctx.emit("ReduceMax", [x, ctx.ints(axes)], { keepdims: 1 }, node.outputs[0]!);
}
