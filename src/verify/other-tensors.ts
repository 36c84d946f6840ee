/**
 * @file Everything that is no fused block (heads, SE layers, plain convolutions, other norms): bit-equal, or named.
 */

import { decodeFloat64, isFloatDType } from "../core/dtype.ts";
import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, formatShape, type LazyTensor } from "../core/tensor.ts";
import { type PartDeviation, roundingUnit } from "./deviation.ts";
import { type LowerFormat, loweredStep, onGrid } from "./precision.ts";
import { createTally } from "./tally.ts";

export interface DifferentTensor {
  readonly name: string;
  readonly deployName: string;
  readonly deviation: PartDeviation;
  /** The narrower format to which it was rounded, if that is all. */
  readonly lowered: Exclude<LowerFormat, "int8"> | undefined;
  /** Every format to which it may have been rounded, narrowest first. */
  readonly fits: readonly LowerFormat[];
}

export interface TensorComparison {
  /** Names that are bit-equal on both sides. */
  readonly equal: readonly string[];
  readonly different: readonly DifferentTensor[];
  /** Training tensors without a counterpart of that name or content: renamed and changed, folded into others, or gone. */
  readonly missing: readonly string[];
  /** Deploy tensors that nothing in the training file explains. */
  readonly surplus: readonly string[];
}

/** Counters that deploy forms and ONNX files rightly leave out. */
const COUNTERS = /(^|\.)num_batches_tracked$/;

export interface CompareOptions extends TaskOptions {
  /** One deploy tensor may stand for several training tensors of the same bits: graphs share constants. Default false. */
  readonly shared?: boolean | undefined;
}

export async function compareTensors(
  training: ReadonlyMap<string, LazyTensor>,
  deploy: ReadonlyMap<string, LazyTensor>,
  options: CompareOptions = {},
): Promise<TensorComparison> {
  const free = new Map(deploy);
  const equal: string[] = [];
  const different: DifferentTensor[] = [];
  const unnamed: string[] = [];
  for (const [name, tensor] of training) {
    throwIfAborted(options.signal);
    const counterpart = free.get(name);
    if (!counterpart || !sameSize(tensor, counterpart)) {
      if (!COUNTERS.test(name)) unnamed.push(name);
      continue;
    }
    free.delete(name);
    if (await sameNumbers(tensor, counterpart)) equal.push(name);
    else if (!COUNTERS.test(name))
      different.push(await differenceOf(name, tensor, name, counterpart));
  }
  const missing: string[] = [];
  for (const name of unnamed) {
    const tensor = training.get(name)!;
    const match =
      (await findByContent(tensor, free)) ??
      (options.shared ? await findByContent(tensor, deploy) : undefined);
    if (match === undefined) missing.push(name);
    else {
      free.delete(match);
      equal.push(name);
    }
  }
  return {
    equal,
    different,
    missing,
    surplus: [...free.keys()].filter((name) => !COUNTERS.test(name)),
  };
}

function sameSize(a: LazyTensor, b: LazyTensor): boolean {
  return formatShape(a.shape) === formatShape(b.shape);
}

/** Per-channel numbers are `[C]` in PyTorch and `[C, 1, 1]` in ONNX. */
function sameButOnes(a: LazyTensor, b: LazyTensor): boolean {
  const long = (shape: readonly number[]): string => formatShape(shape.filter((n) => n !== 1));
  return long(a.shape) === long(b.shape);
}

/** Elements compared at once. */
const CHUNK_ELEMENTS = 2 ** 20;

async function bitEqual(a: LazyTensor, b: LazyTensor): Promise<boolean> {
  if (a.dtype !== b.dtype) return false;
  const count = elementCount(a.shape);
  for (let start = 0; start < count; start += CHUNK_ELEMENTS) {
    const end = Math.min(count, start + CHUNK_ELEMENTS);
    const [x, y] = [await a.read(start, end), await b.read(start, end)];
    if (!sameBytes(x, y)) return false;
  }
  return true;
}

/** Bit-equal, or the same numbers in a type of another width; double precision may have been rounded once. */
async function sameNumbers(a: LazyTensor, b: LazyTensor): Promise<boolean> {
  if (a.dtype === b.dtype) return await bitEqual(a, b);
  if (!isFloatDType(a.dtype) || !isFloatDType(b.dtype)) return false;
  const narrowed = a.dtype === "float64" && b.dtype === "float32";
  const [x, y] = [decodeFloat64(await a.read(), a.dtype), decodeFloat64(await b.read(), b.dtype)];
  return x.every((value, i) => (narrowed ? Math.fround(value) : value) === y[i]);
}

function sameBytes(x: Uint8Array, y: Uint8Array): boolean {
  if (x.byteLength !== y.byteLength) return false;
  if (x.byteOffset % 4 === 0 && y.byteOffset % 4 === 0 && x.byteLength % 4 === 0) {
    const [a, b] = [words(x), words(y)];
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
    return true;
  }
  for (let i = 0; i < x.byteLength; i++) if (x[i] !== y[i]) return false;
  return true;
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** A tensor of the same bits under another name, axes of length 1 apart; also a matrix with its axes exchanged (ONNX MatMul). */
async function findByContent(
  tensor: LazyTensor,
  free: ReadonlyMap<string, LazyTensor>,
): Promise<string | undefined> {
  if (tensor.shape.length === 0) return undefined;
  for (const [name, candidate] of free) {
    if (sameButOnes(tensor, candidate) && (await bitEqual(tensor, candidate))) return name;
    if (isTransposeOf(tensor, candidate) && (await equalTransposed(tensor, candidate))) return name;
  }
  return undefined;
}

function isTransposeOf(a: LazyTensor, b: LazyTensor): boolean {
  const [p, q] = [a.shape, b.shape];
  return p.length === 2 && q.length === 2 && p[0] === q[1] && p[1] === q[0] && a.dtype === b.dtype;
}

async function equalTransposed(a: LazyTensor, b: LazyTensor): Promise<boolean> {
  if (!isFloatDType(a.dtype)) return false;
  const [x, y] = [decodeFloat64(await a.read(), a.dtype), decodeFloat64(await b.read(), b.dtype)];
  const [rows, columns] = a.shape as [number, number];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) if (x[i * columns + j] !== y[j * rows + i]) return false;
  }
  return true;
}

async function differenceOf(
  name: string,
  tensor: LazyTensor,
  deployName: string,
  counterpart: LazyTensor,
): Promise<DifferentTensor> {
  const [exact, found] = [
    decodeFloat64(await tensor.read(), tensor.dtype),
    decodeFloat64(await counterpart.read(), counterpart.dtype),
  ];
  const tally = createTally(roundingUnit("float32"), 1, exact.length);
  tally.add(exact, found, { rows: 1, first: 0 }, () => exact.map(Math.abs));
  const formats = (["bfloat16", "float16", "tfloat32"] as const).filter(
    (format) =>
      found.every((value) => onGrid(value, format)) &&
      found.every((value, i) => Math.abs(value - exact[i]!) <= loweredStep(exact[i]!, format)),
  );
  return { name, deployName, deviation: tally.result(), lowered: formats[0], fits: formats };
}
