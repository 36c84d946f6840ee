/**
 * @file How a lowered graph wants a parameter's elements: another shape, and each block of them transposed.
 * Element `i` keeps its identity (its index in the file), so that a perturbation moves every copy of it alike.
 */

import type { Shape } from "../../core/tensor.ts";

export interface Layout {
  /** The shape the lowered graph sees. */
  readonly shape: Shape;
  /** The elements are blocks of this shape … */
  readonly block: readonly [number, number, number];
  /** … each transposed so that axis `i` of the result is axis `order[i]` of the block. */
  readonly order: readonly [number, number, number];
}

/** The elements as they stand in the file, under another shape. */
export function plainLayout(shape: Shape): Layout {
  return { shape, block: [1, 1, 1], order: [0, 1, 2] };
}

/** True when the elements keep their order. */
export function isPlain({ block, order }: Layout): boolean {
  return block.every((n) => n === 1) || order.every((axis, i) => axis === i);
}

/** Equal keys: equal layouts. */
export function layoutKey(layout: Layout): string {
  return isPlain(layout)
    ? layout.shape.join("x")
    : `${layout.shape.join("x")}:${layout.block.join("x")}:${layout.order.join("")}`;
}
