/** @file Lays out graphs, nodes, attributes and tensors as ONNX messages. Tensor data always becomes `raw_data`. */

import { byteLength, type LazyTensor } from "../../core/tensor.ts";
import { codeOfDType } from "../../ir/element-type.ts";
import type { Attribute, Dim, Graph, Node, ValueInfo } from "../../ir/graph.ts";
import type { MessageWriter } from "./message-writer.ts";
import type { OnnxTensor } from "./read-tensor.ts";
import {
  ATTRIBUTE,
  ATTRIBUTE_TYPE_CODES,
  DATA_LOCATION_EXTERNAL,
  DIM,
  ENTRY,
  GRAPH,
  NODE,
  SHAPE,
  TENSOR,
  TENSOR_TYPE,
  TYPE,
  VALUE_INFO,
} from "./schema.ts";

/** Where a tensor's bytes stand in the external file; undefined keeps them inside. */
export type ExternalPlacement = (
  name: string,
  tensor: LazyTensor,
) => { readonly location: string; readonly offset: number } | undefined;

export function writeGraph(out: MessageWriter, graph: Graph, place?: ExternalPlacement): void {
  for (const node of graph.nodes) out.message(GRAPH.node, (m) => writeNode(m, node));
  out.optionalString(GRAPH.name, graph.name);
  for (const [name, tensor] of graph.initializers) {
    out.message(GRAPH.initializer, (m) => writeTensor(m, name, tensor, place));
  }
  out.fields(graph.opaqueInitializers?.map((opaque) => opaque.bytes));
  out.optionalString(GRAPH.docString, graph.docString);
  for (const info of graph.inputs) out.message(GRAPH.input, (m) => writeValueInfo(m, info));
  for (const info of graph.outputs) out.message(GRAPH.output, (m) => writeValueInfo(m, info));
  for (const info of graph.valueInfos.values()) {
    out.message(GRAPH.valueInfo, (m) => writeValueInfo(m, info));
  }
  out.fields(graph.extra);
}

function writeNode(out: MessageWriter, node: Node): void {
  for (const input of node.inputs) out.string(NODE.input, input);
  for (const output of node.outputs) out.string(NODE.output, output);
  out.optionalString(NODE.name, node.name);
  out.string(NODE.opType, node.opType);
  for (const [name, attribute] of node.attributes) writeAttribute(out, name, attribute);
  out.optionalString(NODE.docString, node.docString);
  out.optionalString(NODE.domain, node.domain);
  out.fields(node.extra);
}

function writeAttribute(out: MessageWriter, name: string, attribute: Attribute): void {
  if (attribute.type === "raw") {
    out.bytes(NODE.attribute, attribute.value);
    return;
  }
  out.message(NODE.attribute, (m) => {
    m.string(ATTRIBUTE.name, name);
    writeAttributeValue(m, name, attribute);
    m.optionalString(ATTRIBUTE.docString, attribute.docString);
    m.int(ATTRIBUTE.type, ATTRIBUTE_TYPE_CODES[attribute.type]);
  });
}

function writeAttributeValue(
  out: MessageWriter,
  name: string,
  attribute: Exclude<Attribute, { type: "raw" }>,
): void {
  switch (attribute.type) {
    case "float":
      out.float(ATTRIBUTE.f, attribute.value);
      break;
    case "int":
      out.int(ATTRIBUTE.i, attribute.value);
      break;
    case "string":
      out.string(ATTRIBUTE.s, attribute.value);
      break;
    case "tensor":
      out.message(ATTRIBUTE.t, (m) => writeAttributeTensor(m, name, attribute.value));
      break;
    case "graph":
      out.message(ATTRIBUTE.g, (m) => writeGraph(m, attribute.value));
      break;
    case "floats":
      for (const value of attribute.value) out.float(ATTRIBUTE.floats, value);
      break;
    case "ints":
      for (const value of attribute.value) out.int(ATTRIBUTE.ints, value);
      break;
    case "strings":
      for (const value of attribute.value) out.string(ATTRIBUTE.strings, value);
      break;
  }
}

function writeAttributeTensor(
  out: MessageWriter,
  name: string,
  tensor: LazyTensor | OnnxTensor,
): void {
  const wireName = "wireName" in tensor ? tensor.wireName : undefined;
  writeTensor(out, wireName ?? name, tensor);
}

function writeTensor(
  out: MessageWriter,
  name: string,
  tensor: LazyTensor | OnnxTensor,
  place?: ExternalPlacement,
): void {
  for (const dim of tensor.shape) out.int(TENSOR.dims, dim);
  out.int(TENSOR.dataType, codeOfDType(tensor.dtype));
  out.optionalString(TENSOR.name, name);
  const sizeBytes = byteLength(tensor);
  const placed = place?.(name, tensor);
  if (placed) {
    const entries = { location: placed.location, offset: placed.offset, length: sizeBytes };
    for (const [key, value] of Object.entries(entries)) {
      out.message(TENSOR.externalData, (m) => {
        m.string(ENTRY.key, key);
        m.string(ENTRY.value, String(value));
      });
    }
    out.int(TENSOR.dataLocation, DATA_LOCATION_EXTERNAL);
  } else {
    out.tensorData(TENSOR.rawData, { tensor, name, sizeBytes });
  }
  if ("extra" in tensor) out.fields(tensor.extra);
}

function writeValueInfo(out: MessageWriter, info: ValueInfo): void {
  const { name, dtype, shape, rawType } = info;
  out.string(VALUE_INFO.name, name);
  if (rawType) out.bytes(VALUE_INFO.type, rawType);
  else if (dtype) {
    out.message(VALUE_INFO.type, (type) =>
      type.message(TYPE.tensorType, (tensorType) => {
        tensorType.int(TENSOR_TYPE.elemType, codeOfDType(dtype));
        if (shape) tensorType.message(TENSOR_TYPE.shape, (m) => writeShape(m, shape));
      }),
    );
  }
  out.fields(info.extra);
}

function writeShape(out: MessageWriter, shape: readonly Dim[]): void {
  for (const dim of shape) {
    out.message(SHAPE.dim, (m) => {
      if (typeof dim === "number") m.int(DIM.value, dim);
      else if (dim !== undefined) m.string(DIM.param, dim);
    });
  }
}
