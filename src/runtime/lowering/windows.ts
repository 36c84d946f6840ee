/** @file Where the windows of a convolution or pooling stand: padding, strides and output sizes, by ONNX's rules. */

import { intAttribute, intsAttribute, type Node, stringAttribute } from "../../ir/graph.ts";
import { refusal } from "./context.ts";

export interface Windows {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padBegin: readonly number[];
  readonly padEnd: readonly number[];
  /** Output size per spatial axis. */
  readonly output: readonly number[];
}

/** The windows over an input with spatial sizes `input`. `ceil_mode` counts for pools. */
export function windowsOf(
  node: Node,
  input: readonly number[],
  kernel: readonly number[],
): Windows {
  const rank = input.length;
  const strides = perAxis(node, "strides", rank, 1);
  const dilations = perAxis(node, "dilations", rank, 1);
  const reach = kernel.map((k, i) => dilations[i]! * (k - 1) + 1);
  const autoPad = stringAttribute(node, "auto_pad", "NOTSET");
  if (autoPad === "SAME_UPPER" || autoPad === "SAME_LOWER") {
    const output = input.map((n, i) => Math.ceil(n / strides[i]!));
    const total = output.map((o, i) => Math.max(0, (o - 1) * strides[i]! + reach[i]! - input[i]!));
    const small = total.map((n) => Math.floor(n / 2));
    const large = total.map((n, i) => n - small[i]!);
    const upper = autoPad === "SAME_UPPER";
    const [padBegin, padEnd] = upper ? [small, large] : [large, small];
    return { kernel, strides, dilations, padBegin, padEnd, output };
  }
  const pads =
    autoPad === "VALID" ? perAxis(node, "", 2 * rank, 0) : perAxis(node, "pads", 2 * rank, 0);
  const padBegin = pads.slice(0, rank);
  const padEnd = pads.slice(rank);
  const ceil = intAttribute(node, "ceil_mode", 0) === 1;
  const output = input.map((n, i) => {
    const room = n + padBegin[i]! + padEnd[i]! - reach[i]!;
    const steps = room / strides[i]!;
    if (!ceil) return Math.floor(steps) + 1;
    const count = Math.ceil(steps) + 1;
    // A window that would start in the padding behind the input is dropped (ONNX, PyTorch).
    return (count - 1) * strides[i]! >= n + padBegin[i]! ? count - 1 : count;
  });
  if (output.some((n) => n < 1))
    throw refusal(node, `a window of [${reach}] in an input of [${input}]`);
  return { kernel, strides, dilations, padBegin, padEnd, output };
}

/** An integer attribute with one entry per axis. */
export function perAxis(
  node: Node,
  name: string,
  count: number,
  fallback: number,
): readonly number[] {
  const values = intsAttribute(node, name) ?? Array.from({ length: count }, () => fallback);
  if (values.length === count) return values;
  throw refusal(node, `${name} has ${values.length} entries, expected ${count}`);
}

/** All tap positions of a kernel, last axis fastest: `[[0,0],[0,1],…]`. */
export function tapsOf(kernel: readonly number[]): number[][] {
  let taps: number[][] = [[]];
  for (const k of kernel) {
    taps = taps.flatMap((tap) => Array.from({ length: k }, (_, i) => [...tap, i]));
  }
  return taps;
}
