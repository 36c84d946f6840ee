/** @file A graph as text, one line per node, for debugging and for tests. */

import { formatShape } from "../core/tensor.ts";
import {
  type Attribute,
  type Graph,
  isOp,
  type Model,
  type Node,
  type ValueInfo,
} from "./graph.ts";

/** Lists longer than this are cut. */
const MAX_LIST = 8;

/** The whole model: header, inputs, nodes in order, outputs. Constants appear as `name: dtype[shape]`. */
export function formatGraph(model: Model): string {
  const opsets = [...model.opsets].map(([domain, version]) => `${domain || "onnx"} ${version}`);
  return [
    `graph ${model.graph.name} (IR ${model.irVersion}; ${opsets.join(", ")})`,
    ...graphLines(model.graph, "  "),
  ].join("\n");
}

function graphLines(graph: Graph, indent: string): string[] {
  const inputs = graph.inputs.filter((input) => !graph.initializers.has(input.name));
  return [
    ...inputs.map((input) => `${indent}input ${formatInfo(input)}`),
    ...graph.nodes.flatMap((node) => nodeLines(node, graph, indent)),
    ...graph.outputs.map((output) => `${indent}output ${formatInfo(output)}`),
  ];
}

function nodeLines(node: Node, graph: Graph, indent: string): string[] {
  const bodies = [...node.attributes].filter(([, attribute]) => attribute.type === "graph");
  return [
    indent + formatNode(node, graph),
    ...bodies.flatMap(([name, attribute]) =>
      attribute.type === "graph"
        ? [`${indent}  ${name}:`, ...graphLines(attribute.value, `${indent}    `)]
        : [],
    ),
  ];
}

/** `y = Conv(x, w: float32[8, 3, 3, 3]) {strides: [1, 1]}` */
function formatNode(node: Node, graph?: Graph): string {
  const inputs = node.inputs.map((name) => {
    const constant = graph?.initializers.get(name);
    return constant ? `${name}: ${constant.dtype}${formatShape(constant.shape)}` : name || "–";
  });
  const attributes = [...node.attributes].map(
    ([name, attribute]) => `${name}: ${formatAttribute(attribute)}`,
  );
  const opType = isOp(node, node.opType) ? node.opType : `${node.domain}.${node.opType}`;
  const suffix = attributes.length > 0 ? ` {${attributes.join(", ")}}` : "";
  return `${node.outputs.join(", ")} = ${opType}(${inputs.join(", ")})${suffix}`;
}

function formatAttribute(attribute: Attribute): string {
  const { type, value } = attribute;
  switch (type) {
    case "tensor":
      return `${value.dtype}${formatShape(value.shape)}`;
    case "graph":
      return `graph ${value.name}`;
    case "raw":
      return `${value.byteLength} raw bytes`;
    case "string":
      return JSON.stringify(value);
    case "floats":
    case "ints":
    case "strings": {
      const shown = value.slice(0, MAX_LIST).map((item) => JSON.stringify(item));
      return `[${shown.join(", ")}${value.length > MAX_LIST ? ", …" : ""}]`;
    }
    default:
      return String(value);
  }
}

function formatInfo({ name, dtype, shape }: ValueInfo): string {
  return `${name}: ${dtype ?? "?"}${shape ? formatShape(shape) : "[…]"}`;
}
