/**
 * @file Operators whose attributes became inputs (or whose default changed) up to opset 17, in their form of opset 17:
 * lowered graphs are written with opset 17 or the model's own, whichever is later.
 */

import { rawInts } from "../../formats/onnx/raw-ints.ts";
import {
  floatAttribute,
  intAttribute,
  intsAttribute,
  type Node,
  stringAttribute,
} from "../../ir/graph.ts";
import type { LoweringContext } from "./context.ts";

type Rule = (ctx: LoweringContext, node: Node) => void;

interface Upgrade {
  /** The first opset with today's form. */
  readonly since: number;
  readonly rule: Rule;
}

/** `attribute` (integers) becomes input 1. */
function intsToInput(attribute: string): Rule {
  return (ctx, node) => {
    const values = intsAttribute(node, attribute);
    const inputs = values === undefined ? node.inputs : [node.inputs[0]!, ctx.ints(values)];
    copy(ctx, node, inputs, [attribute]);
  };
}

/** "To the end" is written as the largest int64, which does not fit a number; no axis is longer than 2^31. */
function endsOf(node: Node): readonly number[] {
  const ends = node.attributes.get("ends");
  if (ends?.type === "raw") return rawInts(ends.value, 2 ** 31 - 1);
  return intsAttribute(node, "ends") ?? [];
}

/** Softmax over all axes from `axis` on (default 1), as it was before opset 13. */
const flatSoftmax: Rule = (ctx, node) => {
  const shape = ctx.shapeOf(node.inputs[0]!);
  const axis = intAttribute(node, "axis", 1);
  const flat = ctx.emit("Flatten", [node.inputs[0]!], { axis });
  const result = ctx.emit(node.opType, [flat], { axis: -1 });
  ctx.reshape(result, shape, node.outputs[0]!);
};

export const UPGRADES: Readonly<Record<string, Upgrade>> = {
  Clip: {
    since: 11,
    rule: (ctx, node) => {
      const bound = (name: string): string =>
        node.attributes.has(name) ? ctx.scalar(floatAttribute(node, name, 0)) : "";
      copy(ctx, node, [node.inputs[0]!, bound("min"), bound("max")], ["min", "max"]);
    },
  },
  Pad: {
    since: 11,
    rule: (ctx, node) => {
      const pads = intsAttribute(node, "pads") ?? intsAttribute(node, "paddings") ?? [];
      const value = ctx.scalar(floatAttribute(node, "value", 0));
      const mode = stringAttribute(node, "mode", "constant");
      const inputs = [node.inputs[0]!, ctx.ints(pads), ...(mode === "constant" ? [value] : [])];
      copy(ctx, node, inputs, ["pads", "paddings", "value"]);
    },
  },
  Slice: {
    since: 10,
    rule: (ctx, node) => {
      const starts = intsAttribute(node, "starts") ?? [];
      const ends = endsOf(node);
      const axes = intsAttribute(node, "axes") ?? starts.map((_, axis) => axis);
      const inputs = [node.inputs[0]!, ctx.ints(starts), ctx.ints(ends), ctx.ints(axes)];
      copy(ctx, node, inputs, ["starts", "ends", "axes"]);
    },
  },
  TopK: {
    since: 10,
    rule: (ctx, node) => {
      copy(ctx, node, [node.inputs[0]!, ctx.ints([intAttribute(node, "k", 1)])], ["k"]);
    },
  },
  Squeeze: { since: 13, rule: intsToInput("axes") },
  Unsqueeze: { since: 13, rule: intsToInput("axes") },
  ReduceSum: { since: 13, rule: intsToInput("axes") },
  Split: { since: 13, rule: intsToInput("split") },
  Softmax: { since: 13, rule: flatSoftmax },
  LogSoftmax: { since: 13, rule: flatSoftmax },
};

/** Emits the node with other inputs and without some attributes. */
export function copy(
  ctx: LoweringContext,
  node: Node,
  inputs: readonly string[] = node.inputs,
  without: readonly string[] = [],
): void {
  const attributes = new Map([...node.attributes].filter(([name]) => !without.includes(name)));
  ctx.nodes.push({ ...node, inputs, attributes });
}
