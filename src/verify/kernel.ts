/**
 * @file A convolution or linear layer as certificate A compares it: numbers in float64 and on demand, wherever they
 * come from.
 */

import type { Bounded } from "../algebra/affine.ts";
import type { Emission } from "../algebra/emit.ts";
import type { PreparedRows } from "../algebra/prepare-rows.ts";
import type { FusedBlock } from "../convert/fuse-block.ts";
import {
  DTYPE_BYTES,
  decodeFloat64,
  type FloatDType,
  float32View,
  isFloatDType,
} from "../core/dtype.ts";
import type { Memory } from "../core/memory.ts";
import { elementCount, type LazyTensor, readFloat64, type Shape } from "../core/tensor.ts";
import type { Region } from "../rewrite/plan.ts";

/** A convolution (or linear layer) of one side: stored as such, or fused from several branches. */
export interface Kernel {
  /** Block prefix, or the node's or tensor's name. */
  readonly name: string;
  /** Names under which a deploy file would store it. */
  readonly weightName: string;
  readonly biasName: string | undefined;
  /** `[outC, inC/group, ...kernelShape]` */
  readonly shape: Shape;
  readonly dtype: FloatDType;
  /** Float32 roundings an ordinary fuse makes; 0 for a stored kernel. */
  readonly roundings: { readonly weight: number; readonly bias: number };
  /** Undefined where only a checkpoint is known. */
  readonly geometry: Emission | undefined;
  /** The stored tensors, when this is no fused block. */
  readonly stored:
    | { readonly weight: LazyTensor; readonly bias: LazyTensor | undefined }
    | undefined;
  /** The recognised block behind it, when this is a fused block of a checkpoint. */
  readonly block: FusedBlock | undefined;
  /**
   * Whether the file may hold float32 folds in place of what was trained. Then the magnitudes that cancelled each other
   * are lost, and a difference beyond the counted roundings proves nothing.
   */
  readonly mayBeFolded: boolean;
  /** The region behind it, when this is a fused part of an ONNX graph. */
  readonly region: Region | undefined;
  /** Rows `[begin, end)` of the weight in storage layout. */
  rows(begin: number, end: number, bounds: boolean): Promise<Bounded>;
  /** The same rows with their stored numbers in memory. */
  prepare(begin: number, end: number, memory?: Memory): Promise<PreparedRows>;
  biases(): Promise<Bounded>;
}

/** A kernel that stands in the file as it is. */
export function storedKernel(
  weightName: string,
  weight: LazyTensor,
  biasName: string | undefined,
  bias: LazyTensor | undefined,
  geometry?: Emission,
): Kernel {
  const outC = weight.shape[0] ?? 0;
  const rowSize = elementCount(weight.shape.slice(1));
  const bounded = (values: Float64Array): Bounded => ({ values, bounds: values.map(Math.abs) });
  return {
    name: weightName.replace(/\.weight$/, ""),
    weightName,
    biasName,
    shape: weight.shape,
    dtype: isFloatDType(weight.dtype) ? weight.dtype : "float32",
    roundings: { weight: 0, bias: 0 },
    geometry,
    stored: { weight, bias },
    block: undefined,
    mayBeFolded: false,
    region: undefined,
    rows: async (begin, end) =>
      bounded(decodeFloat64(await weight.read(begin * rowSize, end * rowSize), weight.dtype)),
    prepare: (begin, end, memory) => preparedStored(weight, rowSize, begin, end, memory),
    biases: async () => bounded(bias ? await readFloat64(bias) : new Float64Array(outC)),
  };
}

async function preparedStored(
  weight: LazyTensor,
  rowSize: number,
  begin: number,
  end: number,
  memory: Memory | undefined,
): Promise<PreparedRows> {
  const into = memory?.take((end - begin) * rowSize * DTYPE_BYTES[weight.dtype]);
  const bytes = await weight.read(begin * rowSize, end * rowSize, into);
  const stored =
    weight.dtype === "float32" ? float32View(bytes) : decodeFloat64(bytes, weight.dtype);
  return {
    rowSize,
    assertStoredFinite: async () => undefined,
    compute: (from, to, values, bounds) => {
      values.set(stored.subarray((from - begin) * rowSize, (to - begin) * rowSize));
      if (!bounds) return;
      for (let i = 0; i < (to - from) * rowSize; i++) bounds[i] = Math.abs(values[i]!);
    },
  };
}
