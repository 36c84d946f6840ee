/**
 * @file Padding whose border is written afterwards: `Pad` with zeros, then `ScatterND` puts the value's own bias into
 * the border, face by face (how PyTorch exports `padded[:, :, 0:p, :] = bias` of DBB and its kin).
 *
 * Once every face holds the bias, the whole is the value continued by itself, which is exact for what follows.
 */

import type { Affine, Bounded } from "../../algebra/affine.ts";
import { UNIT_ROUNDOFF } from "../../core/dtype.ts";
import { elementCount, readFloat64 } from "../../core/tensor.ts";
import { type Node, stringAttribute } from "../../ir/graph.ts";
import type { Constant } from "../constants.ts";
import { forEachPosition, stridesOf } from "../fold/fold.ts";
import { type Batch, type Extent, extentsOf } from "./extent.ts";
import { constantPoints, type Points, type Symbolic } from "./symbolic.ts";

/** A padded value whose border does not hold what its formula gives there, at least not on every face. */
export interface Bordered {
  readonly kind: "bordered";
  /** The value continued by itself: what this becomes when no face is left. */
  readonly whole: Affine;
  /** The Pad. */
  readonly node: Node;
  /** Why it may not be used as it is. */
  readonly reason: string;
  readonly begin: readonly number[];
  readonly end: readonly number[];
  /** Faces that hold something else: 2 · axis at the beginning, 2 · axis + 1 at the end. */
  readonly open: ReadonlySet<number>;
}

export function bordered(
  parts: Pick<Bordered, "whole" | "node" | "reason" | "begin" | "end">,
): Bordered {
  const open = new Set<number>();
  for (const [i, n] of parts.begin.entries()) {
    if (n > 0) open.add(2 * i);
    if (parts.end[i]! > 0) open.add(2 * i + 1);
  }
  return { kind: "bordered", ...parts, open };
}

interface Interval {
  readonly start: number;
  readonly extent: Extent;
}

export interface ScatterOperands {
  readonly node: Node;
  readonly data: Bordered;
  readonly indices: Constant | Symbolic | undefined;
  readonly updates: Constant | Symbolic | undefined;
}

/** `data` after the write: still bordered, or whole, or a reason. */
export async function writeBorder(
  { node, data, indices, updates }: ScatterOperands,
  batch: Batch,
): Promise<Bordered | Affine | { refused: string }> {
  if (stringAttribute(node, "reduction", "none") !== "none") {
    return { refused: "it combines what it writes with what is there" };
  }
  const points = indices && ("kind" in indices ? indices : await constantPoints(indices));
  const box = points?.kind === "points" ? writtenBox(points) : undefined;
  const extents = extentsOf(data.whole, batch);
  if (!box || points?.kind !== "points" || box.length !== extents.length) {
    return { refused: "it is not clear at which positions it writes" };
  }
  const face = writtenFace(data, box, extents);
  if (face === undefined) return { refused: "it writes elsewhere than on one face of the border" };
  const source = updates && ("kind" in updates ? updates : undefined);
  const constant = source?.kind === "spread" ? source.constant : updates;
  const shape = source?.kind === "spread" ? source.shape : (constant as Constant)?.tensor?.shape;
  if (!constant || "kind" in constant || shape?.join() !== points.shape.join()) {
    return { refused: "what it writes is not a constant" };
  }
  const channelAxis = points.coordinates[1]!.steps.indexOf(1);
  const bias = await data.whole.biases();
  const difference = await whyNotBias(constant, points.shape.length, channelAxis, bias, data.whole);
  if (difference) return { refused: difference };
  const open = new Set(data.open);
  open.delete(face);
  return open.size === 0 ? continued(data.whole, constant) : { ...data, open };
}

/** The interval that each coordinate runs over; undefined unless the positions are a box, each written once. */
function writtenBox(points: Points): Interval[] | undefined {
  const used = new Set<number>();
  const box: Interval[] = [];
  for (const { offset, steps } of points.coordinates) {
    const moving = steps.flatMap((step, axis) =>
      step !== 0 && points.shape[axis] !== 1 ? [axis] : [],
    );
    const [axis] = moving;
    if (axis === undefined) {
      box.push({ start: offset, extent: 1 });
      continue;
    }
    if (moving.length > 1 || steps[axis] !== 1 || used.has(axis)) return undefined;
    used.add(axis);
    box.push({ start: offset, extent: points.shape[axis]! });
  }
  const idle = points.shape.some((extent, axis) => extent !== 1 && !used.has(axis));
  return idle ? undefined : box;
}

/** The face of the border that a box is; undefined when it is none. */
function writtenFace(
  data: Bordered,
  box: readonly Interval[],
  extents: readonly Extent[],
): number | undefined {
  const partial = box.flatMap(({ start, extent }, axis) =>
    start === 0 && extent === extents[axis] ? [] : [axis],
  );
  const [axis = 0] = partial;
  if (partial.length !== 1 || axis < 2) return undefined;
  const { start, extent } = box[axis]!;
  const length = extents[axis]!;
  const [begin, end] = [data.begin[axis - 2]!, data.end[axis - 2]!];
  if (start === 0 && extent === begin) return 2 * (axis - 2);
  const fromEnd = start >= 0 && typeof length === "number" ? start - length : start;
  return fromEnd === -end && extent === end ? 2 * (axis - 2) + 1 : undefined;
}

/**
 * Float32 roundings between two evaluations of the same bias: β − μ·γ/√(σ²+ε) takes 5 on each side, one less for the
 * shared operands. Exporters that fold the normalization into the convolution compute the bias and the border apart.
 */
const BIAS_ROUNDINGS = 8;

/** Why the constant is not the bias in every channel. */
async function whyNotBias(
  constant: Constant,
  rank: number,
  channelAxis: number,
  bias: Bounded,
  v: Affine,
): Promise<string | undefined> {
  const values = await readFloat64(constant.tensor);
  const { shape } = constant.tensor;
  // A folded bias has lost the size of the terms that cancelled in it; the layer's largest stands in for them.
  const largest = bias.bounds.reduce((a, b) => Math.max(a, b), 0);
  const roundings = BIAS_ROUNDINGS + constant.roundings + v.roundings.bias;
  const allowed = roundings * UNIT_ROUNDOFF.float32 * largest;
  const axis = channelAxis - rank + shape.length;
  const strides = stridesOf(shape);
  if (elementCount(shape) !== values.length) return "what it writes is not a constant";
  let reason: string | undefined;
  forEachPosition(shape, strides, 0, (flat) => {
    const perChannel = axis >= 0 && shape[axis] !== 1;
    const position = perChannel ? Math.floor(flat / strides[axis]!) % shape[axis]! : 0;
    const last = perChannel ? position : bias.values.length - 1;
    for (let c = position; c <= last; c++) {
      if (Math.abs(values[flat]! - bias.values[c]!) <= allowed) continue;
      reason ??= `it writes ${values[flat]} into the border of channel ${c}, where the value's own continuation is ${bias.values[c]}`;
    }
  });
  return reason;
}

/** The whole value; the roundings by which border and bias may differ count. */
function continued(whole: Affine, constant: Constant): Affine {
  const { weight, bias } = whole.roundings;
  return { ...whole, roundings: { weight, bias: bias + constant.roundings } };
}
