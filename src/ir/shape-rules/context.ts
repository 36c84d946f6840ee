/** @file What a shape rule sees and gives, and arithmetic on dimensions that may be unknown. */

import type { DType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { formatShape } from "../../core/tensor.ts";
import type { Dim, Node } from "../graph.ts";

/** What is known about a value. */
export interface InferredType {
  readonly dtype: DType | "string" | undefined;
  readonly shape: readonly Dim[] | undefined;
  /** Elements of a small integer or boolean tensor of rank 0 or 1, e.g. a shape that is computed in the graph. */
  readonly values?: readonly Dim[] | undefined;
}

export interface RuleContext {
  readonly node: Node;
  readonly opset: number;
  /** For messages. */
  readonly where: string;
  /** Type of an input; all unknown when it is omitted. */
  input(index: number): InferredType;
  /** Elements of a small constant numeric input, unknown ones as undefined; undefined when nothing is known. */
  values(index: number): Promise<readonly Dim[] | undefined>;
}

/** Types of the node's outputs; missing entries are unknown. */
export type ShapeRule = (context: RuleContext) => InferredType[] | Promise<InferredType[]>;

export const UNKNOWN: InferredType = { dtype: undefined, shape: undefined };

/** Numpy broadcasting. A known dimension above 1 wins over an unknown one. Throws `bad-data` on a conflict. */
export function broadcast(
  where: string,
  shapes: readonly (readonly Dim[] | undefined)[],
): readonly Dim[] | undefined {
  let result: readonly Dim[] | undefined = [];
  for (const shape of shapes) {
    if (!shape || !result) return undefined;
    const [left, right]: [readonly Dim[], readonly Dim[]] = [result, shape];
    const rank = Math.max(left.length, right.length);
    result = Array.from({ length: rank }, (_, i) =>
      broadcastDim(where, left, right, i - (rank - left.length), i - (rank - right.length)),
    );
  }
  return result;
}

function broadcastDim(
  where: string,
  left: readonly Dim[],
  right: readonly Dim[],
  leftAxis: number,
  rightAxis: number,
): Dim {
  const a = leftAxis < 0 ? 1 : left[leftAxis];
  const b = rightAxis < 0 ? 1 : right[rightAxis];
  if (a === b || b === 1) return a;
  if (a === 1) return b;
  if (typeof a === "number" && typeof b === "number") {
    throw badData(where, `shapes ${formatShape(left)} and ${formatShape(right)} do not broadcast`);
  }
  if (typeof a === "number") return a;
  return typeof b === "number" ? b : undefined;
}

/** `f` of a known dimension; an unknown one stays itself only where `keeps` says that `f` changes nothing. */
export function mapDim(dim: Dim, f: (n: number) => number, keeps = false): Dim {
  if (typeof dim === "number") return f(dim);
  return keeps ? dim : undefined;
}

/** An axis counted from the front. Throws `bad-data` outside `[-rank, rank)`. */
export function toAxis(where: string, axis: number, rank: number): number {
  const front = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(front) && front >= 0 && front < rank) return front;
  throw badData(where, `axis ${axis}, expected -${rank} to ${rank - 1}`);
}

/** All entries as numbers, or undefined. */
export function toNumbers(values: readonly Dim[] | undefined): readonly number[] | undefined {
  return values?.every((value) => typeof value === "number") ? (values as number[]) : undefined;
}

/** Highest rank we make up; shapes of computed rank beyond it are treated as unknown. */
const MAX_RANK = 64;

/** A shape of known rank alone; undefined when even the rank is unknown. */
export function unknownDims(rank: Dim): Dim[] | undefined {
  return typeof rank === "number" && rank >= 0 && rank <= MAX_RANK
    ? Array<Dim>(rank).fill(undefined)
    : undefined;
}

/** Longest vector whose elements are followed through the graph. */
export const MAX_KNOWN_VALUES = 1024;
