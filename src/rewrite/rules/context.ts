/** @file What a transfer rule sees of a node, and what it answers. */

import type { Affine, Refused } from "../../algebra/affine.ts";
import { noteStored, type Parameter } from "../../algebra/parameter.ts";
import { decodeFloat64, type FloatDType, float32View } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { firstNonFinite } from "../../core/finite.ts";
import { readFloat64 } from "../../core/tensor.ts";
import type { Node } from "../../ir/graph.ts";
import type { Constant } from "../constants.ts";
import { sizesOf } from "../fold/fold.ts";
import type { Bordered } from "../symbolic/border.ts";

export interface RuleContext {
  readonly node: Node;
  /** Version of the node's operator set. */
  readonly opset: number;
  /** Element type of the region's input, and so of every value in the region. */
  readonly dtype: FloatDType;
  /** Meaning of input `i` relative to the region's input; undefined for constants. */
  operand(i: number): Affine | undefined;
  /** Input `i` when it is a constant. */
  constant(i: number): Constant | undefined;
}

/** One meaning per output, or why there is none; a padded value may become affine once its border is written. */
export type RuleResult = readonly Affine[] | Bordered | Refused;

/** Gives the outputs of one operator their meaning. Exact, or refused with a reason. */
export type Rule = (context: RuleContext) => Promise<RuleResult>;

export function refuse(reason: string): Refused {
  return { refused: reason };
}

/** A result of one output. */
export function single(result: Affine | Refused): RuleResult {
  return "refused" in result ? result : [result];
}

/** A stored tensor as numbers for the algebra. */
export function toParameter(constant: Constant): Parameter {
  const { tensor } = constant;
  const readFinite = async (begin: number, end: number): Promise<Uint8Array> => {
    const bytes = await tensor.read(begin, end);
    const at = firstNonFinite(bytes, tensor.dtype);
    if (at < 0) return bytes;
    throw badData(
      constant.name,
      `element ${begin + at} is not a finite number (NaN or infinity)`,
      "Training diverged or the file is damaged: use an earlier checkpoint",
    );
  };
  const read = async (begin: number, end: number): Promise<Float64Array> =>
    decodeFloat64(await readFinite(begin, end), tensor.dtype);
  return {
    name: constant.name,
    length: tensor.shape.reduce((product, n) => product * n, 1),
    roundings: constant.roundings,
    read:
      tensor.dtype === "float32"
        ? noteStored(read, async (begin, end, into) =>
            float32View(await tensor.read(begin, end, into)),
          )
        : read,
  };
}

/** A constant's values, all of them. */
export async function constantNumbers(constant: Constant): Promise<number[]> {
  return [...(await readFloat64(constant.tensor))];
}

/** A short list of integers, e.g. pads, axes or bounds. */
export async function constantIntegers(
  constant: Constant | undefined,
): Promise<number[] | undefined> {
  return sizesOf(constant);
}

/**
 * A constant operand that acts per channel on `[N, C, ...spatial]`: a scalar or a shape whose only axis above 1 is
 * the channel axis. Anything else is undefined.
 */
export function channelParameter(constant: Constant, v: Affine): Parameter | undefined {
  const rank = v.axes.length + 2;
  const { shape } = constant.tensor;
  if (shape.length > rank) return undefined;
  const aligned = [...Array<number>(rank - shape.length).fill(1), ...shape];
  const channels = aligned[1]!;
  if (aligned.some((n, axis) => axis !== 1 && n !== 1)) return undefined;
  if (channels !== 1 && channels !== v.outC) return undefined;
  const stored = toParameter(constant);
  if (channels === v.outC) return stored;
  return {
    ...stored,
    length: v.outC,
    read: async (begin, end) => new Float64Array(end - begin).fill((await stored.read(0, 1))[0]!),
  };
}
