/**
 * @file Integer tensors that exporters compute from shapes to say *where* something is written, with lengths that
 * may be known only by name: sizes, grids of indices, tuples of them, and constants spread over such a shape.
 * Each is exact: a rule that cannot tell gives no result.
 */

import { elementCount, readFloat64 } from "../../core/tensor.ts";
import type { Constant } from "../constants.ts";
import { stridesOf } from "../fold/fold.ts";
import { allNumbers, type Extent } from "./extent.ts";

/** A 0-D or 1-D integer tensor, e.g. what `Shape` gives. */
export interface Sizes {
  readonly kind: "sizes";
  readonly scalar: boolean;
  readonly entries: readonly Extent[];
}

/** The element at position i is `offset + Σ steps[a] · i[a]`. */
export interface Grid {
  readonly kind: "grid";
  readonly shape: readonly Extent[];
  readonly offset: number;
  readonly steps: readonly number[];
}

/** `[...shape, coordinates.length]`: one grid per coordinate, along the last axis. */
export interface Points {
  readonly kind: "points";
  readonly shape: readonly Extent[];
  readonly coordinates: readonly Pick<Grid, "offset" | "steps">[];
}

/** A constant broadcast to a shape (aligned at the last axis, as ONNX does). */
export interface Spread {
  readonly kind: "spread";
  readonly shape: readonly Extent[];
  readonly constant: Constant;
}

/** A value of which only the shape is known. */
export interface Shaped {
  readonly kind: "shaped";
  readonly shape: readonly Extent[];
}

export type Symbolic = Sizes | Grid | Points | Spread | Shaped;

export function sizes(entries: readonly Extent[], scalar = false): Sizes {
  return { kind: "sizes", entries, scalar };
}

/** The tensor's own shape. */
export function shapeOfSymbolic(value: Symbolic): readonly Extent[] {
  if (value.kind === "sizes") return value.scalar ? [] : [value.entries.length];
  return value.kind === "points" ? [...value.shape, value.coordinates.length] : value.shape;
}

/** Most elements of a constant that is searched for a grid: an image of 1000 × 1000 with four coordinates. */
const MAX_GRID_ELEMENTS = 2 ** 22;

/** The grid that a constant is; undefined when it is none. */
export async function constantGrid(constant: Constant): Promise<Grid | undefined> {
  const { shape } = constant.tensor;
  const count = elementCount(shape);
  if (count === 0 || count > MAX_GRID_ELEMENTS) return undefined;
  const values = await readFloat64(constant.tensor);
  const strides = stridesOf(shape);
  const offset = values[0]!;
  const steps = shape.map((n, axis) => (n > 1 ? values[strides[axis]!]! - offset : 0));
  const isGrid = values.every((value, flat) => {
    const expected = steps.reduce(
      (sum, step, axis) => sum + step * (Math.floor(flat / strides[axis]!) % shape[axis]!),
      offset,
    );
    return value === expected;
  });
  return isGrid ? { kind: "grid", shape, offset, steps } : undefined;
}

/** The tuples that a constant holds along its last axis; undefined when one coordinate is no grid. */
export async function constantPoints(constant: Constant): Promise<Points | undefined> {
  const { shape } = constant.tensor;
  const depth = shape.at(-1) ?? 0;
  const outer = shape.slice(0, -1);
  if (depth < 1 || elementCount(shape) > MAX_GRID_ELEMENTS) return undefined;
  const values = await readFloat64(constant.tensor);
  const coordinates: Grid[] = [];
  for (let d = 0; d < depth; d++) {
    const column = values.filter((_, i) => i % depth === d);
    const grid = await constantGrid({
      ...constant,
      tensor: {
        dtype: "float64",
        shape: outer,
        read: async () => new Uint8Array(column.buffer, column.byteOffset, column.byteLength),
      },
    });
    if (!grid) return undefined;
    coordinates.push(grid);
  }
  return { kind: "points", shape: outer, coordinates };
}

/** Sizes that are all numbers are a constant. */
export function constantSizes(name: string, value: Sizes): Constant | undefined {
  const { entries, scalar } = value;
  if (!allNumbers(entries)) return undefined;
  return {
    name,
    tensor: {
      dtype: "int64",
      shape: scalar ? [] : [entries.length],
      read: async (start = 0, end = entries.length) =>
        new Uint8Array(BigInt64Array.from(entries.slice(start, end), BigInt).buffer),
    },
    dtype: "int64",
    roundings: 0,
    depth: 1,
  };
}
