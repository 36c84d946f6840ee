/** @file Operators that name a type. Casts between float types vanish: the reference rounds nowhere. */

import { decodeFloat64, isFloatDType } from "../../core/dtype.ts";
import { lazyTensor, tensor } from "../../core/tensor.ts";
import { intAttribute, type Node } from "../../ir/graph.ts";
import type { LoweringContext } from "./context.ts";
import { copy } from "./upgrade.ts";

/** ONNX type codes. */
const DOUBLE = 11;
const FLOATS: ReadonlySet<number> = new Set([1, 10, 11, 16]);

export function lowerCast(ctx: LoweringContext, node: Node): void {
  if (FLOATS.has(intAttribute(node, "to", 0))) toDouble(ctx, node);
  else copy(ctx, node);
}

export function lowerCastLike(ctx: LoweringContext, node: Node): void {
  if (ctx.isFloat(node.inputs[1]!)) toDouble(ctx, node);
  else copy(ctx, node);
}

function toDouble(ctx: LoweringContext, node: Node): void {
  const [x = ""] = node.inputs;
  if (ctx.isFloat(x)) ctx.emit("Identity", [x], {}, node.outputs[0]!);
  else ctx.emit("Cast", [x], { to: DOUBLE }, node.outputs[0]!);
}

export async function lowerConstantOfShape(ctx: LoweringContext, node: Node): Promise<void> {
  const value = node.attributes.get("value");
  const filler = value?.type === "tensor" ? value.value : undefined;
  if (filler && !isFloatDType(filler.dtype)) {
    copy(ctx, node);
    return;
  }
  const elements = filler ? decodeFloat64(await filler.read(), filler.dtype) : new Float64Array(1);
  const attributes = { value: lazyTensor(tensor("float64", [1], elements)) };
  ctx.emit("ConstantOfShape", node.inputs, attributes, node.outputs[0]!);
}

/** Dropout does nothing in inference. */
export function lowerDropout(ctx: LoweringContext, node: Node): void {
  if ((node.inputs[2] ?? "") !== "" || (node.outputs[1] ?? "") !== "") {
    throw ctx.refuse(node, "it has a training mode input or a mask output");
  }
  ctx.emit("Identity", [node.inputs[0]!], {}, node.outputs[0]!);
}
