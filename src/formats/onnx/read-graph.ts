/** @file GraphProto → `Graph`: fields are read in one pass, subgraphs by recursion within a depth limit. */

import { badData } from "../../core/errors.ts";
import type { LazyTensor } from "../../core/tensor.ts";
import type { Graph, Node, OpaqueInitializer, ValueInfo } from "../../ir/graph.ts";
import { assertCount, assertPayload, type Field } from "./message-reader.ts";
import { readNode } from "./read-node.ts";
import { readTensorMessage, type TensorContext } from "./read-tensor.ts";
import { readValueInfo } from "./read-value-info.ts";
import { GRAPH, SPARSE_TENSOR } from "./schema.ts";

interface GraphParts {
  name: string;
  docString: string;
  readonly inputs: ValueInfo[];
  readonly outputs: ValueInfo[];
  readonly nodes: Node[];
  readonly initializers: Map<string, LazyTensor>;
  readonly opaque: Map<string, OpaqueInitializer>;
  readonly valueInfos: Map<string, ValueInfo>;
  readonly extra: Uint8Array[];
}

/** Reads the GraphProto in `field`. `onField` is called after each of its fields with the byte it ends at. */
export async function readGraph(
  context: TensorContext,
  where: string,
  field: Field,
  depth = 1,
  onField?: (end: number) => void,
): Promise<Graph> {
  const { reader } = context;
  assertPayload(where, field);
  assertCount(where, "nested graphs", depth, reader.limits.graphDepth);
  const parts: GraphParts = {
    name: "",
    docString: "",
    inputs: [],
    outputs: [],
    nodes: [],
    initializers: new Map(),
    opaque: new Map(),
    valueInfos: new Map(),
    extra: [],
  };
  for await (const part of reader.each(where, field.start, field.end)) {
    await readPart(context, where, part, parts, depth);
    onField?.(part.end);
  }
  const { name, inputs, outputs, nodes, initializers, valueInfos } = parts;
  return {
    name,
    inputs,
    outputs,
    nodes,
    initializers,
    valueInfos,
    ...(parts.opaque.size > 0 && { opaqueInitializers: [...parts.opaque.values()] }),
    ...(parts.docString !== "" && { docString: parts.docString }),
    ...(parts.extra.length > 0 && { extra: parts.extra }),
  };
}

async function readPart(
  context: TensorContext,
  where: string,
  part: Field,
  graph: GraphParts,
  depth: number,
): Promise<void> {
  const { reader } = context;
  const { limits } = reader;
  switch (part.number) {
    case GRAPH.node:
      assertCount(where, "nodes", graph.nodes.length + 1, limits.nodes);
      graph.nodes.push(
        await readNode(context, where, part, (inner, field) =>
          readGraph(context, inner, field, depth + 1),
        ),
      );
      return;
    case GRAPH.name:
      graph.name = await reader.text(where, part);
      return;
    case GRAPH.docString:
      graph.docString = await reader.text(where, part);
      return;
    case GRAPH.initializer:
    case GRAPH.sparseInitializer:
      assertCount(
        where,
        "initializers",
        graph.initializers.size + graph.opaque.size + 1,
        limits.initializers,
      );
      return readInitializer(context, where, part, graph);
    case GRAPH.input:
    case GRAPH.output:
    case GRAPH.valueInfo: {
      const count = graph.inputs.length + graph.outputs.length + graph.valueInfos.size + 1;
      assertCount(where, "declared values", count, limits.valueInfos);
      const info = await readValueInfo(reader, where, part);
      if (part.number === GRAPH.input) graph.inputs.push(info);
      else if (part.number === GRAPH.output) graph.outputs.push(info);
      else graph.valueInfos.set(info.name, info);
      return;
    }
    default:
      graph.extra.push(await reader.keep(where, part.tagStart, part.end));
  }
}

async function readInitializer(
  context: TensorContext,
  where: string,
  part: Field,
  graph: GraphParts,
): Promise<void> {
  const { reader } = context;
  assertPayload(where, part);
  const label = `${where}: initializer`;
  let dense: Field | undefined = part;
  if (part.number === GRAPH.sparseInitializer) {
    const fields = await reader.fields(label, part.start, part.end);
    dense = fields.find((field) => field.number === SPARSE_TENSOR.values);
    if (!dense) throw badData(label, "sparse tensor without values");
    assertPayload(label, dense);
  }
  const { name, tensor } = await readTensorMessage(context, label, dense.start, dense.end);
  if (name === "") throw badData(label, `tensor at byte ${part.tagStart} has no name`);
  if (graph.initializers.has(name) || graph.opaque.has(name)) {
    throw badData(`${label} ${name}`, "it is given twice");
  }
  if (tensor && part.number === GRAPH.initializer) graph.initializers.set(name, tensor);
  else {
    const bytes = await reader.keep(label, part.tagStart, part.end);
    graph.opaque.set(name, { name, bytes });
  }
}
