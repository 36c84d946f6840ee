/** @file ONNX's numbers for element types: tensors' types in files, and the `to` of Cast, are these. */

import type { DType } from "../core/dtype.ts";

/** `TensorProto.DataType`: the array index is ONNX's code; undefined where we have no such type. */
export const DTYPE_OF_CODE: readonly (DType | "string" | undefined)[] = [
  undefined,
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
  "complex64",
  "complex128",
  "bfloat16",
  "float8e4m3fn",
  undefined,
  "float8e5m2",
];

export function codeOfDType(dtype: DType | "string"): number {
  return DTYPE_OF_CODE.indexOf(dtype);
}
