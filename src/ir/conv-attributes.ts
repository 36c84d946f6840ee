/** @file Window attributes of Conv and the pools, with the defaults of the ONNX specification. */

import { badData } from "../core/errors.ts";
import type { Shape } from "../core/tensor.ts";
import { intAttribute, intsAttribute, type Node, stringAttribute } from "./graph.ts";

export interface Window {
  /** One entry per spatial axis in every list. */
  readonly kernelShape: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Zeros unless `autoPad` is NOTSET. */
  readonly beginPads: readonly number[];
  readonly endPads: readonly number[];
  /** VALID is resolved to NOTSET with zero pads; SAME depends on the input size when strides exceed 1. */
  readonly autoPad: "NOTSET" | "SAME_UPPER" | "SAME_LOWER";
}

export interface ConvAttributes extends Window {
  readonly group: number;
}

/** Attributes of `Conv` with a weight `[outC, inC/group, ...kernelShape]`. Throws `bad-data` when they do not fit it. */
export function convAttributes(node: Node, weightShape: Shape, where: string): ConvAttributes {
  if (weightShape.length < 3) {
    throw badData(where, `the weight has ${weightShape.length} dimensions, expected at least 3`);
  }
  const kernelShape = weightShape.slice(2);
  const declared = intsAttribute(node, "kernel_shape");
  if (declared && declared.join() !== kernelShape.join()) {
    throw badData(
      where,
      `kernel_shape is [${declared.join(", ")}], expected [${kernelShape.join(", ")}] as the weight has`,
    );
  }
  const group = intAttribute(node, "group", 1);
  if (group < 1 || (weightShape[0] ?? 0) % group !== 0) {
    throw badData(where, `group ${group} does not divide the ${weightShape[0]} output channels`);
  }
  return { ...windowOf(node, kernelShape, where), group };
}

/** Attributes of `AveragePool` and `MaxPool` over `spatialRank` axes. */
export function poolAttributes(node: Node, spatialRank: number, where: string): Window {
  const kernelShape = intsAttribute(node, "kernel_shape");
  if (kernelShape?.length !== spatialRank) {
    throw badData(
      where,
      `kernel_shape has ${kernelShape?.length ?? 0} entries, expected ${spatialRank}`,
    );
  }
  return windowOf(node, kernelShape, where);
}

function windowOf(node: Node, kernelShape: readonly number[], where: string): Window {
  const rank = kernelShape.length;
  const list = (
    name: string,
    length: number,
    fallback: number,
    least: number,
  ): readonly number[] => {
    const values = intsAttribute(node, name) ?? Array<number>(length).fill(fallback);
    if (values.length !== length || values.some((n) => n < least)) {
      throw badData(
        where,
        `${name} is [${values.join(", ")}], expected ${length} numbers of at least ${least}`,
      );
    }
    return values;
  };
  const autoPad = stringAttribute(node, "auto_pad", "NOTSET");
  const same = autoPad === "SAME_UPPER" || autoPad === "SAME_LOWER";
  if (!same && autoPad !== "NOTSET" && autoPad !== "VALID") {
    throw badData(
      where,
      `auto_pad is "${autoPad}", expected NOTSET, VALID, SAME_UPPER or SAME_LOWER`,
    );
  }
  const pads =
    autoPad === "NOTSET" ? list("pads", 2 * rank, 0, 0) : Array<number>(2 * rank).fill(0);
  return {
    kernelShape,
    strides: list("strides", rank, 1, 1),
    dilations: list("dilations", rank, 1, 1),
    beginPads: pads.slice(0, rank),
    endPads: pads.slice(rank),
    autoPad: same ? autoPad : "NOTSET",
  };
}
