/** @file Regions that fusing would make the model larger for, because other nodes keep the kernels alive. */

import { elementCount } from "../core/tensor.ts";
import { type Node, nodeLabel } from "../ir/graph.ts";
import { isLinearLayer } from "./cost.ts";
import type { Interpreter } from "./interpreter.ts";
import type { Refusal, Region } from "./plan-types.ts";
import { regionSignature } from "./signature.ts";

/** Regions that are the same computation, and so share what they are fused to. */
interface Group {
  readonly regions: readonly Region[];
  readonly refusal: Refusal;
}

/** Groups of regions whose kernels stay in the model and whose fused kernel would come on top of them. */
export function sharedKernels(interpreter: Interpreter, regions: readonly Region[]): Group[] {
  const groups = new Map<string, Region[]>();
  for (const region of regions) {
    const signature = regionSignature(region);
    const group = groups.get(signature);
    if (group) group.push(region);
    else groups.set(signature, [region]);
  }
  const readers = readersByStorage(interpreter);
  return [...groups.values()].flatMap((group) => {
    const refusal = refusalOf(interpreter, group, readers);
    return refusal ? [{ regions: group, refusal }] : [];
  });
}

type Storage = object;

/** Nodes that read a stored tensor under whatever name, in subgraphs too, other than those that only make constants of it. */
function readersByStorage({ index, constants }: Interpreter): Map<Storage, Node[]> {
  const readers = new Map<Storage, Node[]>();
  for (const [name, { tensor }] of constants) {
    for (const node of index.uses(name)) {
      if (node.outputs.every((output) => constants.has(output))) continue;
      const list = readers.get(tensor.read);
      if (list) list.push(node);
      else readers.set(tensor.read, [node]);
    }
  }
  return readers;
}

function refusalOf(
  { constants }: Interpreter,
  group: readonly Region[],
  readers: ReadonlyMap<Storage, readonly Node[]>,
): Refusal | undefined {
  const [first] = group;
  if (!first) return undefined;
  const inside = new Set(group.flatMap(({ nodes }) => nodes));
  const kernels = first.nodes.filter(isLinearLayer).map((node) => constants.get(node.inputs[1]!)!);
  let freed = 0;
  let kept: { kernel: string; reader: Node } | undefined;
  for (const { name, tensor } of new Map(kernels.map((k) => [k.tensor.read, k])).values()) {
    const reader = readers.get(tensor.read)?.find((node) => !inside.has(node));
    if (reader) kept = { kernel: name, reader };
    else freed += elementCount(tensor.shape);
  }
  if (!kept || first.after.parameters <= freed) return undefined;
  return {
    output: first.output,
    nodes: first.nodes,
    reason: `its kernel ${kept.kernel} is also used by ${nodeLabel(kept.reader)}, so the model would store it twice`,
  };
}
