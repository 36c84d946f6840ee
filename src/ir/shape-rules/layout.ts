/** @file Shapes of operators that move elements: cut, join, pad, reorder, resize. */

import { badData } from "../../core/errors.ts";
import { formatShape } from "../../core/tensor.ts";
import { type Dim, intAttribute, intsAttribute, stringAttribute } from "../graph.ts";
import {
  broadcast,
  MAX_KNOWN_VALUES,
  mapDim,
  type RuleContext,
  type ShapeRule,
  toAxis,
  toNumbers,
  unknownDims,
} from "./context.ts";

export const concat: ShapeRule = async ({ node, where, input, values }) => {
  const inputs = node.inputs.map((_, i) => input(i));
  const dtype = inputs[0]?.dtype;
  const first = inputs[0]?.shape;
  if (!first) return [{ dtype, shape: undefined }];
  const axis = toAxis(where, intAttribute(node, "axis", 1), first.length);
  const shape: Dim[] = [...first];
  for (const { shape: other } of inputs.slice(1)) {
    if (!other) return [{ dtype, shape: undefined }];
    if (other.length !== first.length) {
      throw badData(where, `shapes ${formatShape(first)} and ${formatShape(other)} do not join`);
    }
    other.forEach((dim, i) => {
      const so = shape[i];
      if (i === axis)
        shape[i] = mapDim(so, (n) => n + (typeof dim === "number" ? dim : Number.NaN));
      else if (typeof so === "number" && typeof dim === "number" && so !== dim) {
        throw badData(
          where,
          `shapes ${formatShape(first)} and ${formatShape(other)} differ in axis ${i}, which is not joined`,
        );
      } else if (typeof so !== "number" && typeof dim === "number") shape[i] = dim;
      else if (so === undefined) shape[i] = dim;
    });
  }
  if (Number.isNaN(shape[axis])) shape[axis] = undefined;
  if (first.length !== 1) return [{ dtype, shape }];
  const parts: Dim[] = [];
  for (let i = 0; i < inputs.length; i++) {
    const length = inputs[i]!.shape?.[0];
    const known = (await values(i)) ?? unknownDims(length);
    if (!known || parts.length + known.length > MAX_KNOWN_VALUES) return [{ dtype, shape }];
    parts.push(...known);
  }
  return [{ dtype, shape, values: parts }];
};

export const split: ShapeRule = async ({ node, where, input, values }) => {
  const { dtype, shape } = input(0);
  const count = node.outputs.length;
  if (!shape) return Array.from({ length: count }, () => ({ dtype, shape }));
  const axis = toAxis(where, intAttribute(node, "axis", 0), shape.length);
  const listed = intsAttribute(node, "split") ?? (node.inputs[1] ? await values(1) : undefined);
  const total = shape[axis];
  // Without a list: equal pieces, the last one smaller where they do not come out even.
  const piece = typeof total === "number" ? Math.ceil(total / count) : undefined;
  return Array.from({ length: count }, (_, i) => {
    let size: Dim = listed?.[i];
    if (!listed && !node.inputs[1] && piece !== undefined) {
      size = Math.min(piece, Math.max(0, Number(total) - i * piece));
    }
    return { dtype, shape: shape.map((dim, j) => (j === axis ? size : dim)) };
  });
};

export const pad: ShapeRule = async ({ node, opset, where, input, values }) => {
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape }];
  const pads = opset < 11 ? intsAttribute(node, "pads") : toNumbers(await values(1));
  const listed = node.inputs[3]
    ? toNumbers(await values(3))
    : Array.from({ length: shape.length }, (_, i) => i);
  if (!pads || !listed) return [{ dtype, shape: unknownDims(shape.length) }];
  if (pads.length !== 2 * listed.length) {
    throw badData(where, `${pads.length} pads, expected ${2 * listed.length}`);
  }
  const out: Dim[] = [...shape];
  listed.forEach((axis, i) => {
    const both = pads[i]! + pads[i + listed.length]!;
    const at = toAxis(where, axis, shape.length);
    out[at] = mapDim(shape[at], (n) => n + both, both === 0);
  });
  return [{ dtype, shape: out }];
};

export const flatten: ShapeRule = ({ node, where, input }) => {
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape: [undefined, undefined] }];
  const axis = intAttribute(node, "axis", 1);
  const cut = axis === shape.length ? axis : toAxis(where, axis, shape.length);
  const product = (dims: readonly Dim[]): Dim =>
    dims.length === 1 ? dims[0] : toNumbers(dims)?.reduce((all, n) => all * n, 1);
  return [{ dtype, shape: [product(shape.slice(0, cut)), product(shape.slice(cut))] }];
};

export const transpose: ShapeRule = ({ node, where, input }) => {
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape }];
  const order = intsAttribute(node, "perm") ?? shape.map((_, i) => shape.length - 1 - i);
  if (order.length !== shape.length || new Set(order).size !== order.length) {
    throw badData(
      where,
      `perm is [${order.join(", ")}], expected an order of ${shape.length} axes`,
    );
  }
  return [{ dtype, shape: order.map((axis) => shape[toAxis(where, axis, shape.length)]) }];
};

export const squeeze: ShapeRule = async (context) => {
  const { where, input, values } = context;
  const { dtype, shape } = input(0);
  const known = await values(0);
  const axes = await listedAxes(context);
  if (!shape || axes === "unknown") return [{ dtype, shape: undefined }];
  if (!axes && !toNumbers(shape)) return [{ dtype, shape: undefined }];
  const gone = new Set(
    axes?.map((axis) => toAxis(where, axis, shape.length)) ??
      shape.flatMap((dim, i) => (dim === 1 ? [i] : [])),
  );
  return [{ dtype, shape: shape.filter((_, i) => !gone.has(i)), values: known }];
};

export const unsqueeze: ShapeRule = async (context) => {
  const { where, input, values } = context;
  const { dtype, shape } = input(0);
  const axes = await listedAxes(context);
  if (!shape || !axes || axes === "unknown") return [{ dtype, shape: undefined }];
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((axis) => toAxis(where, axis, rank)));
  const rest = [...shape];
  const out = Array.from({ length: rank }, (_, i): Dim => (added.has(i) ? 1 : rest.shift()));
  return [{ dtype, shape: out, values: rank <= 1 ? await values(0) : undefined }];
};

/** Axes as attribute or, from opset 13, as second input; undefined when there are none. */
async function listedAxes({
  node,
  values,
}: RuleContext): Promise<readonly number[] | "unknown" | undefined> {
  const attribute = intsAttribute(node, "axes");
  if (attribute || !node.inputs[1]) return attribute;
  return toNumbers(await values(1)) ?? "unknown";
}

export const expand: ShapeRule = async ({ where, input, values }) => {
  const { dtype, shape } = input(0);
  const target = await values(1);
  return [{ dtype, shape: target && broadcast(where, [shape, target]) }];
};

export const tile: ShapeRule = async ({ input, values }) => {
  const { dtype, shape } = input(0);
  const repeats = await values(1);
  return [
    {
      dtype,
      shape: shape?.map((dim, i): Dim => {
        const times = repeats?.[i];
        return typeof times === "number" ? mapDim(dim, (n) => n * times, times === 1) : undefined;
      }),
    },
  ];
};

export const gather: ShapeRule = async ({ node, where, input, values }) => {
  const { dtype, shape } = input(0);
  const indices = input(1).shape;
  if (!shape || !indices) return [{ dtype, shape: undefined }];
  const axis = toAxis(where, intAttribute(node, "axis", 0), shape.length);
  const out = [...shape.slice(0, axis), ...indices, ...shape.slice(axis + 1)];
  if (shape.length !== 1 || out.length > 1) return [{ dtype, shape: out }];
  const from = await values(0);
  const at = await values(1);
  const picked = from && at?.map((i): Dim => (typeof i === "number" ? from.at(i) : undefined));
  return [{ dtype, shape: out, values: picked }];
};

/** Pixels and channels exchanged: `channels` and `size` are what becomes of one axis each. */
function blockMove(
  channels: (n: number, block: number) => number,
  size: (n: number, block: number) => number,
): ShapeRule {
  return ({ node, input }) => {
    const { dtype, shape } = input(0);
    const block = intAttribute(node, "blocksize", 1);
    const moved = shape?.map((dim, i) =>
      i === 0 ? dim : mapDim(dim, (n) => (i === 1 ? channels : size)(n, block), block === 1),
    );
    return [{ dtype, shape: moved }];
  };
}

export const depthToSpace: ShapeRule = blockMove(
  (n, block) => Math.floor(n / block ** 2),
  (n, block) => n * block,
);

export const spaceToDepth: ShapeRule = blockMove(
  (n, block) => n * block ** 2,
  (n, block) => Math.floor(n / block),
);

/** Resize and Upsample: sizes, or floor(in · scale). Newer options that change this leave the size unknown. */
export const resize: ShapeRule = async ({ node, opset, input, values }) => {
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape }];
  const unknown = [{ dtype, shape: unknownDims(shape.length) }];
  const policy = stringAttribute(node, "keep_aspect_ratio_policy", "stretch");
  if (node.attributes.has("axes") || policy !== "stretch") return unknown;
  const inputsSinceV11 = node.opType === "Resize" && opset >= 11;
  if (inputsSinceV11 && node.inputs[3]) {
    const sizes = await values(3);
    return sizes?.length === shape.length ? [{ dtype, shape: sizes }] : unknown;
  }
  const attribute = node.attributes.get("scales");
  const scales =
    attribute?.type === "floats"
      ? attribute.value
      : toNumbers(await values(inputsSinceV11 ? 2 : 1));
  if (scales?.length !== shape.length) return unknown;
  return [
    {
      dtype,
      shape: shape.map((dim, i) => mapDim(dim, (n) => Math.floor(n * scales[i]!), scales[i] === 1)),
    },
  ];
};
