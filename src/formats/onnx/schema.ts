/** @file Numbers of the ONNX wire format: field numbers per message, element types, attribute types (onnx.proto, IR version 14). */

import type { Attribute } from "../../ir/graph.ts";

export const MODEL = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
} as const;

export const OPSET = { domain: 1, version: 2 } as const;

export const ENTRY = { key: 1, value: 2 } as const;

export const GRAPH = {
  node: 1,
  name: 2,
  initializer: 5,
  docString: 10,
  input: 11,
  output: 12,
  valueInfo: 13,
  sparseInitializer: 15,
} as const;

export const NODE = {
  input: 1,
  output: 2,
  name: 3,
  opType: 4,
  attribute: 5,
  docString: 6,
  domain: 7,
} as const;

export const ATTRIBUTE = {
  name: 1,
  f: 2,
  i: 3,
  s: 4,
  t: 5,
  g: 6,
  floats: 7,
  ints: 8,
  strings: 9,
  docString: 13,
  type: 20,
} as const;

export const TENSOR = {
  dims: 1,
  dataType: 2,
  segment: 3,
  floatData: 4,
  int32Data: 5,
  stringData: 6,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  uint64Data: 11,
  docString: 12,
  externalData: 13,
  dataLocation: 14,
} as const;

export const SPARSE_TENSOR = { values: 1 } as const;

export const VALUE_INFO = { name: 1, type: 2 } as const;
export const TYPE = { tensorType: 1 } as const;
export const TENSOR_TYPE = { elemType: 1, shape: 2 } as const;
export const SHAPE = { dim: 1 } as const;
export const DIM = { value: 1, param: 2 } as const;

/** `TensorProto.DataLocation` */
export const DATA_LOCATION_EXTERNAL = 1;

/** Highest `TensorProto.DataType` of onnx.proto at IR version 14 (FLOAT6E3M2). */
export const MAX_DATA_TYPE_CODE = 28;

/** `AttributeProto.AttributeType` of the attributes we interpret. */
export const ATTRIBUTE_TYPE_CODES: Readonly<Record<Exclude<Attribute["type"], "raw">, number>> = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
};

/** Lowest and highest version of the standard domain that we read. */
export const OPSET_RANGE = { min: 7, max: 22 } as const;
/** Lowest and highest IR version that we read: 3 came with opset 7; 14 is onnx 1.23's. */
export const IR_VERSION_RANGE = { min: 3, max: 14 } as const;
