/** @file Shape of Slice, whose bounds are clamped and may count from the end. */

import { type Dim, intsAttribute } from "../graph.ts";
import { type RuleContext, type ShapeRule, toAxis, toNumbers, unknownDims } from "./context.ts";

interface Bounds {
  readonly starts: readonly Dim[] | undefined;
  readonly ends: readonly Dim[] | undefined;
  readonly axes: readonly number[] | undefined;
  readonly steps: readonly Dim[] | undefined;
}

export const slice: ShapeRule = async (context) => {
  const { where, input } = context;
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape }];
  const { starts, ends, axes, steps } = await readBounds(context);
  if (!axes) return [{ dtype, shape: unknownDims(shape.length) }];
  const out: Dim[] = [...shape];
  axes.forEach((axis, i) => {
    const at = toAxis(where, axis, shape.length);
    const picked = pick(shape[at], starts?.[i], ends?.[i], steps?.[i]);
    out[at] = typeof picked === "object" ? picked.length : picked;
  });
  const known = shape.length === 1 && axes.length === 1 ? await context.values(0) : undefined;
  if (!known) return [{ dtype, shape: out }];
  const places = pick(known.length, starts?.[0], ends?.[0], steps?.[0]);
  return [
    {
      dtype,
      shape: out,
      values: typeof places === "object" ? places.map((place) => known[place]) : undefined,
    },
  ];
};

/** Bounds are attributes before opset 10 and inputs since. */
async function readBounds({ node, opset, values }: RuleContext): Promise<Bounds> {
  if (opset < 10) {
    const starts = intsAttribute(node, "starts");
    const axes = intsAttribute(node, "axes") ?? starts?.map((_, i) => i);
    return { starts, ends: intsAttribute(node, "ends"), axes, steps: axes?.map(() => 1) };
  }
  const starts = await values(1);
  const axes = node.inputs[3] ? toNumbers(await values(3)) : starts?.map((_, i) => i);
  return {
    starts,
    ends: await values(2),
    axes,
    steps: node.inputs[4] ? await values(4) : axes?.map(() => 1),
  };
}

/** Longest axis whose places are listed; longer ones are only counted. */
const MAX_LISTED_PLACES = 4096;

/** The places a slice takes of an axis, their number where there are many, or what is known of it. */
function pick(dim: Dim, start: Dim, end: Dim, step: Dim): Dim | readonly number[] {
  if (typeof start !== "number" || typeof end !== "number" || typeof step !== "number")
    return undefined;
  if (typeof dim !== "number") {
    // Everything up to "the largest integer", as exporters write it.
    return start === 0 && step === 1 && end >= 2 ** 31 - 1 ? dim : undefined;
  }
  if (step === 0) return undefined;
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? dim : dim - 1;
  const clamp = (n: number): number => Math.min(Math.max(n < 0 ? n + dim : n, low), high);
  const [from, to] = [clamp(start), clamp(end)];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (count > MAX_LISTED_PLACES) return count;
  return Array.from({ length: count }, (_, i) => from + i * step);
}
