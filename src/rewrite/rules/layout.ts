/** @file Identity, Dropout, Pad, Concat, Slice, Split, Gather: values kept, continued, cropped, stacked or chosen. */

import { type Affine, fixedLength, isRefused } from "../../algebra/affine.ts";
import { concatChannels, selectChannels } from "../../algebra/channels.ts";
import { pad } from "../../algebra/pad.ts";
import { DTYPE_OF_CODE } from "../../ir/element-type.ts";
import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from "../../ir/graph.ts";
import { sliceRange } from "../fold/layout.ts";
import { bordered } from "../symbolic/border.ts";
import {
  constantIntegers,
  constantNumbers,
  type Rule,
  type RuleContext,
  refuse,
  single,
} from "./context.ts";

export const identityRule: Rule = async (context) => {
  const v = context.operand(0);
  return v ? [v] : refuse("its input is a constant");
};

/** A cast to the type that the value has. */
export const castRule: Rule = async (context) => {
  const v = context.operand(0);
  const to = DTYPE_OF_CODE[intAttribute(context.node, "to", 0)];
  return v && to === context.dtype ? [v] : refuse(`it converts ${context.dtype} to ${to}`);
};

export const dropoutRule: Rule = async (context) => {
  const v = context.operand(0);
  if (!v) return refuse("its input is a constant");
  const training = context.node.inputs[2] ? context.constant(2) : undefined;
  if (context.node.inputs[2] && !training) return refuse("its training_mode is not a constant");
  if (training && (await constantNumbers(training))[0] !== 0) return refuse("it drops at random");
  if (context.node.outputs.slice(1).some((output) => output !== "")) {
    return refuse("its mask is used");
  }
  return [v];
};

/** Numbers that are an attribute in old operator sets and an input in new ones. */
async function numbers(
  context: RuleContext,
  attribute: string,
  input: number,
): Promise<number[] | undefined> {
  const ints = intsAttribute(context.node, attribute);
  if (ints) return [...ints];
  return constantIntegers(context.constant(input));
}

/** Normalized axis, e.g. −1 is the last. */
function positive(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

export const padRule: Rule = async (context) => {
  const v = context.operand(0);
  const amounts = await numbers(context, "pads", 1);
  if (!v || !amounts) return refuse("its pads are not constants");
  const mode = stringAttribute(context.node, "mode", "constant");
  if (mode !== "constant") {
    return refuse(`mode ${mode} continues the image by copies of itself, not by a constant`);
  }
  const rank = v.axes.length + 2;
  const axes = context.node.inputs[3] ? await numbers(context, "axes", 3) : undefined;
  if (context.node.inputs[3] && !axes) return refuse("its axes are not constants");
  const listed = (axes ?? Array.from({ length: rank }, (_, i) => i)).map((a) => positive(a, rank));
  const begin = Array<number>(rank).fill(0);
  const end = Array<number>(rank).fill(0);
  for (const [i, axis] of listed.entries()) {
    begin[axis] = amounts[i] ?? 0;
    end[axis] = amounts[i + listed.length] ?? 0;
  }
  if (begin[0] || end[0] || begin[1] || end[1]) return refuse("it pads batch or channels");
  const filling = await padFilling(context, v);
  if (typeof filling === "object") return filling;
  const pads = { begin: begin.slice(2), end: end.slice(2) };
  const padded = pad(v, pads.begin, pads.end, filling);
  const grows = [...pads.begin, ...pads.end].every((n) => n >= 0);
  if (filling === "own" || !isRefused(padded) || !grows) return single(padded);
  // Zeros are wrong as they are; some exporters overwrite them with the right numbers.
  const whole = pad(v, pads.begin, pads.end, "own");
  if (isRefused(whole)) return padded;
  return bordered({ whole, node: context.node, reason: padded.refused, ...pads });
};

/** Zero, or a constant that equals the value's bias in every channel. */
async function padFilling(
  context: RuleContext,
  v: Affine,
): Promise<"zero" | "own" | { refused: string }> {
  const constant = context.node.inputs[2] ? context.constant(2) : undefined;
  if (context.node.inputs[2] && !constant) return refuse("its fill value is not a constant");
  const value = constant
    ? ((await constantNumbers(constant))[0] ?? 0)
    : floatAttribute(context.node, "value", 0);
  if (value === 0) return "zero";
  const { values } = await v.biases();
  return values.every((b) => b === value)
    ? "own"
    : refuse(`it pads with ${value}, which is not the value's own continuation`);
}

/** Our own operator of block recipes: pads a value with its own affine continuation. */
export const padSelfRule: Rule = async (context) => {
  const v = context.operand(0);
  const pads = intsAttribute(context.node, "pads");
  if (!v || pads?.length !== v.axes.length * 2) return refuse("its pads do not fit the value");
  return single(pad(v, pads.slice(0, v.axes.length), pads.slice(v.axes.length), "own"));
};

export const concatRule: Rule = async (context) => {
  const parts = context.node.inputs.map((_, i) => context.operand(i));
  if (!parts.every((part) => part !== undefined))
    return refuse("it joins a constant to the values");
  const rank = parts[0]!.axes.length + 2;
  const axis = positive(intAttribute(context.node, "axis", 1), rank);
  if (axis !== 1) return refuse("it does not join along the channels");
  return single(concatChannels(parts));
};

export const splitRule: Rule = async (context) => {
  const v = context.operand(0);
  if (!v) return refuse("its input is a constant");
  if (positive(intAttribute(context.node, "axis", 0), v.axes.length + 2) !== 1) {
    return refuse("it does not split the channels");
  }
  const count = context.node.outputs.length;
  const given = context.node.inputs[1] !== undefined && context.node.inputs[1] !== "";
  const listed = await numbers(context, "split", 1);
  if (given && !listed) return refuse("its sizes are not constants");
  const sizes = listed ?? equalSplit(v.outC, count);
  if (sizes.some((size) => size < 0 || size > v.outC)) {
    return refuse(`its sizes [${sizes.join(", ")}] do not fit ${v.outC} channels`);
  }
  const results: Affine[] = [];
  let begin = 0;
  for (const size of sizes) {
    const part = selectChannels(
      v,
      Array.from({ length: size }, (_, i) => begin + i),
    );
    if (isRefused(part)) return part;
    results.push(part);
    begin += size;
  }
  return begin === v.outC && results.length === count
    ? results
    : refuse(`its sizes do not add up to ${v.outC} channels in ${count} parts`);
};

/** Equal parts; the last is smaller when the channels do not divide (ONNX Split-18). */
function equalSplit(channels: number, count: number): number[] {
  const size = Math.ceil(channels / count);
  return Array.from({ length: count }, (_, i) => Math.min(size, channels - i * size));
}

export const gatherRule: Rule = async (context) => {
  const v = context.operand(0);
  const indices = context.constant(1);
  if (!v || !indices) return refuse("its indices are not constants");
  const axis = positive(intAttribute(context.node, "axis", 0), v.axes.length + 2);
  if (axis !== 1 || indices.tensor.shape.length !== 1) return refuse("it does not choose channels");
  const chosen = (await constantNumbers(indices)).map((i) => positive(i, v.outC));
  return single(selectChannels(v, chosen));
};

export const sliceRule: Rule = async (context) => {
  const v = context.operand(0);
  const starts = await numbers(context, "starts", 1);
  const ends = await numbers(context, "ends", 2);
  if (!v || !starts || !ends) return refuse("its bounds are not constants");
  const listed = (await numbers(context, "axes", 3)) ?? starts.map((_, i) => i);
  const steps = await numbers(context, "steps", 4);
  if (context.node.inputs[4] && !steps) return refuse("its steps are not constants");
  const rank = v.axes.length + 2;
  const crop = { begin: Array<number>(rank - 2).fill(0), end: Array<number>(rank - 2).fill(0) };
  let channels: number[] | undefined;
  for (const [i, listedAxis] of listed.entries()) {
    const axis = positive(listedAxis, rank);
    const bounds = { start: starts[i]!, end: ends[i]!, step: steps?.[i] ?? 1 };
    if (axis === 0) return refuse("it slices the batch");
    if (axis === 1) {
      const range = sliceRange(v.outC, bounds.start, bounds.end, bounds.step);
      if (!range) return refuse("its step is 0");
      channels = Array.from({ length: range.count }, (_, c) => range.start + c * range.step);
    } else {
      const amounts = cropAmounts(bounds, fixedLength(v.axes[axis - 2]!));
      if (!amounts) {
        return refuse(
          `bounds ${bounds.start}, ${bounds.end}, step ${bounds.step} depend on the input size`,
        );
      }
      crop.begin[axis - 2] = -amounts.begin;
      crop.end[axis - 2] = -amounts.end;
    }
  }
  const cropped = pad(v, crop.begin, crop.end, "zero");
  if (isRefused(cropped) || !channels) return single(cropped);
  return single(selectChannels(cropped, channels));
};

/** Ends from here on mean "to the end": exporters write int32 and int64 maxima. */
const TO_THE_END = 2 ** 31 - 1;

/** Rows to drop at both ends: the same for every input size, or those of the fixed one. */
function cropAmounts(
  { start, end, step }: { start: number; end: number; step: number },
  length: number | undefined,
): { begin: number; end: number } | undefined {
  if (step !== 1) return undefined;
  if (start >= 0 && end >= TO_THE_END) return { begin: start, end: 0 };
  if (start >= 0 && end < 0) return { begin: start, end: -end };
  if (length === undefined) return undefined;
  const range = sliceRange(length, start, end, step);
  return range && { begin: range.start, end: length - range.start - range.count };
}
