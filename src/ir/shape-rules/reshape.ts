/** @file Shape of Reshape: 0 copies a dimension, -1 takes what is left. */

import { badData } from "../../core/errors.ts";
import { formatShape } from "../../core/tensor.ts";
import { type Dim, intAttribute } from "../graph.ts";
import { type ShapeRule, unknownDims } from "./context.ts";

export const reshape: ShapeRule = async ({ node, where, input, values }) => {
  const { dtype, shape } = input(0);
  const wanted = await values(1);
  if (!wanted) {
    return [{ dtype, shape: unknownDims(input(1).shape?.[0]) }];
  }
  const copies = intAttribute(node, "allowzero", 0) === 0;
  const target = wanted.map((dim, i): Dim => (dim === 0 && copies ? shape?.[i] : dim));
  const open = target.indexOf(-1);
  if (open >= 0) target[open] = shape && remainder(shape, target, open);
  if (target.some((dim) => typeof dim === "number" && dim < 0)) {
    throw badData(where, `it reshapes ${formatShape(shape ?? [])} to ${formatShape(wanted)}`);
  }
  const [before, after] = [knownProduct(shape), knownProduct(target)];
  if (before !== undefined && after !== undefined && before !== after) {
    throw badData(
      where,
      `it reshapes ${formatShape(shape ?? [])} to ${formatShape(wanted)}, which has ${after} elements, expected ${before}`,
    );
  }
  const known = shape && shape.length <= 1 && target.length <= 1 ? await values(0) : undefined;
  return [{ dtype, shape: target, values: known }];
};

/** What -1 stands for: elements of `shape` over the other dimensions, with equal symbols cancelled. */
function remainder(shape: readonly Dim[], target: readonly Dim[], open: number): Dim {
  const symbols: (string | undefined)[] = [];
  let count = 1;
  for (const dim of shape) {
    if (typeof dim === "number") count *= dim;
    else symbols.push(dim);
  }
  for (const [i, dim] of target.entries()) {
    if (i === open) continue;
    if (typeof dim === "number") count /= dim;
    else {
      const at = dim === undefined ? -1 : symbols.indexOf(dim);
      if (at < 0) return undefined;
      symbols.splice(at, 1);
    }
  }
  if (!Number.isInteger(count)) return undefined;
  if (symbols.length === 0) return count;
  return symbols.length === 1 && count === 1 ? symbols[0] : undefined;
}

function knownProduct(shape: readonly Dim[] | undefined): number | undefined {
  let product = 1;
  for (const dim of shape ?? [undefined]) {
    if (typeof dim !== "number") return undefined;
    product *= dim;
  }
  return product;
}
