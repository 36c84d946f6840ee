/**
 * @file Operators over shapes and index grids. Each rule answers with a symbolic tensor, with a constant, or not at
 * all; "not at all" only means that what depends on it stays as it is.
 */

import { intAttribute, intsAttribute, isOp, type Node } from "../../ir/graph.ts";
import type { Constant } from "../constants.ts";
import { axisOf, sizesOf } from "../fold/fold.ts";
import { sliceRange } from "../fold/layout.ts";
import { allNumbers, broadcastExtents, type Extent } from "./extent.ts";
import {
  constantGrid,
  type Grid,
  type Sizes,
  type Symbolic,
  shapeOfSymbolic,
  sizes,
} from "./symbolic.ts";

export interface SymbolicContext {
  readonly node: Node;
  /** Input `i` as a constant or a symbolic tensor; undefined where it is left out. */
  readonly inputs: readonly (Constant | Symbolic | undefined)[];
}

type SymbolicRule = (context: SymbolicContext) => Promise<Symbolic | undefined>;

export async function symbolicResult(context: SymbolicContext): Promise<Symbolic | undefined> {
  const { node } = context;
  return isOp(node, node.opType) ? SYMBOLIC_RULES.get(node.opType)?.(context) : undefined;
}

function isSymbolic(value: Constant | Symbolic | undefined): value is Symbolic {
  return value !== undefined && "kind" in value;
}

/** An input as a list of sizes, whether constant or symbolic. */
async function asSizes(value: Constant | Symbolic | undefined): Promise<Sizes | undefined> {
  if (isSymbolic(value)) return value.kind === "sizes" ? value : undefined;
  const numbers = value && value.tensor.shape.length <= 1 ? await sizesOf(value) : undefined;
  return numbers && sizes(numbers, value!.tensor.shape.length === 0);
}

async function asNumbers(value: Constant | Symbolic | undefined): Promise<number[] | undefined> {
  return isSymbolic(value) ? undefined : sizesOf(value);
}

async function asGrid(value: Constant | Symbolic | undefined): Promise<Grid | undefined> {
  if (isSymbolic(value)) return value.kind === "grid" ? value : undefined;
  return value && constantGrid(value);
}

const shape: SymbolicRule = async ({ node, inputs: [input] }) => {
  if (!isSymbolic(input)) return undefined;
  const all = shapeOfSymbolic(input);
  return sizes(all.slice(intAttribute(node, "start", 0), intAttribute(node, "end", all.length)));
};

const same: SymbolicRule = async ({ inputs: [input] }) => (isSymbolic(input) ? input : undefined);

/** Only among integers: indices stay what they are. */
const cast: SymbolicRule = async ({ node, inputs: [input] }) => {
  const to = intAttribute(node, "to", 0);
  const integer = to === 6 || to === 7; // int32, int64
  return isSymbolic(input) && input.kind !== "spread" && integer ? input : undefined;
};

const gather: SymbolicRule = async ({ inputs: [input, indices] }) => {
  const list = await asSizes(input);
  const chosen = await asSizes(indices);
  if (!list || list.scalar || !chosen || !allNumbers(chosen.entries)) return undefined;
  const entries = chosen.entries.map((i) => list.entries.at(i));
  return entries.every((entry) => entry !== undefined) ? sizes(entries, chosen.scalar) : undefined;
};

const concat: SymbolicRule = async ({ node, inputs }) => {
  const lists = await Promise.all(inputs.map(asSizes));
  if (lists.every((list) => list && !list.scalar)) {
    return sizes(lists.flatMap((list) => list!.entries));
  }
  const grids = await Promise.all(inputs.map(asGrid));
  const first = grids[0];
  if (!first || !grids.every((grid) => grid !== undefined)) return undefined;
  const rank = first.shape.length;
  const outer = first.shape.slice(0, -1);
  const fits = grids.every(
    (grid) => grid.shape.at(-1) === 1 && grid.shape.slice(0, -1).join() === outer.join(),
  );
  if (axisOf(intAttribute(node, "axis", 0), rank) !== rank - 1 || !fits) return undefined;
  const coordinates = grids.map(({ offset, steps }) => ({ offset, steps: steps.slice(0, -1) }));
  return { kind: "points", shape: outer, coordinates };
};

/** `a == b` by element where it can be told: a name is a length of at least 1. */
const equal: SymbolicRule = async ({ inputs }) => {
  const [a, b] = await Promise.all([asSizes(inputs[0]), asSizes(inputs[1])]);
  if (!a || !b || a.entries.length !== b.entries.length) return undefined;
  const entries = a.entries.map((x, i) => {
    const y = b.entries[i]!;
    if (x === y) return 1;
    if (typeof x === "number" && typeof y === "number") return 0;
    const number = typeof x === "number" ? x : y;
    return typeof number === "number" && number < 1 ? 0 : undefined;
  });
  return entries.every((entry) => entry !== undefined) ? sizes(entries, a.scalar) : undefined;
};

const where: SymbolicRule = async ({ inputs }) => {
  // The condition is a constant by now, or it could not be told.
  const [condition, a, b] = await Promise.all(inputs.map(asSizes));
  if (!condition || !a || !b || a.entries.length !== b.entries.length) return undefined;
  if (condition.entries.length !== a.entries.length || !allNumbers(condition.entries))
    return undefined;
  return sizes(condition.entries.map((c, i) => (c ? a.entries[i]! : b.entries[i]!)));
};

const range: SymbolicRule = async ({ inputs }) => {
  const [start, limit, delta] = await Promise.all(inputs.map(asSizes));
  if (start?.entries[0] !== 0 || delta?.entries[0] !== 1 || limit?.entries[0] === undefined) {
    return undefined;
  }
  return { kind: "grid", shape: [limit.entries[0]], offset: 0, steps: [1] };
};

const add: SymbolicRule = async ({ inputs }) => {
  const [a, b] = await Promise.all([asGrid(inputs[0]), asGrid(inputs[1])]);
  const extents = a && b && broadcastExtents(a.shape, b.shape);
  if (!extents) return undefined;
  const stepsOf = (grid: Grid, axis: number): number =>
    grid.steps[axis - extents.length + grid.shape.length] ?? 0;
  return {
    kind: "grid",
    shape: extents,
    offset: a.offset + b.offset,
    steps: extents.map((_, axis) => stepsOf(a, axis) + stepsOf(b, axis)),
  };
};

/** Axes of length 1 come and go; the others keep their order, so that elements stay in place. */
function regrid(grid: Grid, extents: readonly Extent[]): Grid | undefined {
  const wide = grid.steps.filter((_, axis) => grid.shape[axis] !== 1);
  const before = grid.shape.filter((extent) => extent !== 1);
  const after = extents.filter((extent) => extent !== 1);
  if (before.join() !== after.join()) return undefined;
  let next = 0;
  const steps = extents.map((extent) => (extent === 1 ? 0 : wide[next++]!));
  return { ...grid, shape: extents, steps };
}

const reshape: SymbolicRule = async ({ inputs: [input, target] }) => {
  const list = await asSizes(target);
  if (!isSymbolic(input) || !list) return undefined;
  const own = shapeOfSymbolic(input);
  if (input.kind === "spread") return own.join() === list.entries.join() ? input : undefined;
  if (input.kind === "sizes")
    return list.entries.join() === "-1" ? sizes(input.entries) : undefined;
  if (input.kind !== "grid") return undefined;
  // −1 stands for whatever the others leave; with at most one wide axis left that is unambiguous.
  const given = list.entries.filter((extent) => extent !== 1 && extent !== -1);
  const left = own.filter((extent) => extent !== 1);
  for (const extent of given) {
    const at = left.indexOf(extent);
    if (at === -1) return undefined;
    left.splice(at, 1);
  }
  if (left.length > 1) return undefined;
  return regrid(
    input,
    list.entries.map((extent) => (extent === -1 ? (left[0] ?? 1) : extent)),
  );
};

const unsqueeze: SymbolicRule = async ({ node, inputs: [input, axesInput] }) => {
  const axes = intsAttribute(node, "axes") ?? (await asNumbers(axesInput));
  if (!isSymbolic(input) || !axes) return undefined;
  if (input.kind === "sizes") return input.scalar ? sizes(input.entries) : undefined;
  if (input.kind !== "grid") return undefined;
  const rank = input.shape.length + axes.length;
  const added = axes.map((axis) => axisOf(axis, rank));
  const rest = [...input.shape];
  const extents = Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : rest.shift()!));
  return regrid(input, extents);
};

const expand: SymbolicRule = async ({ inputs: [input, target] }) => {
  const list = await asSizes(target);
  if (!input || !list) return undefined;
  if (isSymbolic(input) ? input.kind === "grid" : input.dtype === "int64") {
    const grid = await asGrid(input);
    const extents = grid && broadcastExtents(grid.shape, list.entries);
    const added = (extents?.length ?? 0) - (grid?.shape.length ?? 0);
    return (
      extents && {
        ...grid,
        shape: extents,
        steps: extents.map((_, i) => grid.steps[i - added] ?? 0),
      }
    );
  }
  const source = isSymbolic(input)
    ? input
    : { kind: "spread" as const, shape: input.tensor.shape, constant: input };
  if (source.kind !== "spread") return undefined;
  const extents = broadcastExtents(source.shape, list.entries);
  return extents && { ...source, shape: extents };
};

/** Of a list of sizes, of a grid along an axis, or of a value of which only the shape matters. */
const slice: SymbolicRule = async ({ node, inputs }) => {
  const [input] = inputs;
  const bounds = await Promise.all(
    ["starts", "ends", "axes", "steps"].map(
      async (name, i) => intsAttribute(node, name) ?? (await asNumbers(inputs[i + 1])),
    ),
  );
  const [starts, ends, axes, steps] = bounds;
  if (!isSymbolic(input) || !starts || !ends || (inputs[3] && !axes) || (inputs[4] && !steps)) {
    return undefined;
  }
  if (input.kind === "sizes") {
    const cut =
      starts.length === 1 &&
      sliceRange(input.entries.length, starts[0]!, ends[0]!, steps?.[0] ?? 1);
    if (!cut) return undefined;
    return sizes(
      Array.from({ length: cut.count }, (_, i) => input.entries[cut.start + i * cut.step]!),
    );
  }
  if (input.kind !== "grid" && input.kind !== "shaped") return undefined;
  const extents = [...input.shape];
  let { offset, steps: gridSteps } =
    input.kind === "grid" ? input : { offset: 0, steps: extents.map(() => 0) };
  for (const [i, start] of starts.entries()) {
    const axis = axisOf(axes?.[i] ?? i, extents.length);
    const cut = axis !== undefined && cutExtent(extents[axis]!, start, ends[i]!, steps?.[i] ?? 1);
    if (!cut) return undefined;
    const step = gridSteps[axis]!;
    offset += step * cut.start;
    gridSteps = gridSteps.map((s, a) => (a === axis ? s * cut.step : s));
    extents[axis] = cut.count;
  }
  return input.kind === "grid"
    ? { kind: "grid", shape: extents, offset, steps: gridSteps }
    : { kind: "shaped", shape: extents };
};

function cutExtent(
  extent: Extent,
  start: number,
  end: number,
  step: number,
): { start: number; step: number; count: Extent } | undefined {
  if (typeof extent === "number") return sliceRange(extent, start, end, step);
  if (start !== 0 || step !== 1) return undefined;
  if (end === 1) return { start, step, count: 1 };
  return end >= 2 ** 31 - 1 ? { start, step, count: extent } : undefined;
}

const SYMBOLIC_RULES: ReadonlyMap<string, SymbolicRule> = new Map<string, SymbolicRule>([
  ["Add", add],
  ["Cast", cast],
  ["Concat", concat],
  ["Equal", equal],
  ["Expand", expand],
  ["Gather", gather],
  ["Identity", same],
  ["Range", range],
  ["Reshape", reshape],
  ["Shape", shape],
  ["Slice", slice],
  ["Unsqueeze", unsqueeze],
  ["Where", where],
]);
