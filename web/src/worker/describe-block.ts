/** @file One block looked at closely: the kernel of every branch and of their sum, roundings, cancellation. */

import { type Affine, tapCount } from "../../../src/algebra/affine.ts";
import { ReparamError, throwIfAborted } from "../../../src/core/errors.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import { elementCount } from "../../../src/core/tensor.ts";
import { type Branch, dissect } from "../../../src/diagnose/anatomy.ts";
import { type Kernel, openSide } from "../../../src/verify/side.ts";
import { openSubject } from "./open-subject.ts";
import type { BlockView, KernelView, Subject } from "./protocol.ts";

/** Rows read at once: bounded memory whatever the layer's size. */
const ROWS = 64;
/** Filters and input channels shown one by one. */
const MOSAIC = 12;

export async function describeBlock(
  subject: Subject,
  name: string,
  task: TaskOptions,
): Promise<BlockView> {
  const file = await openSubject(subject);
  const side = await openSide(file);
  const kernel = side.fused.find((candidate) => candidate.name === name);
  if (!kernel) {
    throw new ReparamError("not-found", {
      where: name,
      what: "is in deploy form, there is nothing to take apart",
    });
  }
  const anatomy = await dissect(kernel, file.kind === "onnx" ? file.model : undefined);
  const frame = anatomy && frameOf(anatomy.affine);
  const branches: (KernelView & { role: string })[] = [];
  for (const branch of anatomy?.branches ?? []) {
    throwIfAborted(task.signal);
    task.onProgress?.({
      label: branch.label,
      done: branches.length,
      total: anatomy!.branches.length + 1,
    });
    branches.push({ ...(await branchKernel(branch, frame!)), role: branch.role });
  }
  const { view, cancellation } = await fusedKernelView(kernel, task);
  const { block } = kernel;
  return {
    name,
    weightName: kernel.weightName,
    shape: kernel.shape,
    k: { weight: Math.max(1, kernel.roundings.weight), bias: Math.max(1, kernel.roundings.bias) },
    cancellation,
    epsilon: block?.block.epsilon,
    tail: (anatomy?.tail ?? []).map((node) => node.opType),
    branches,
    fused: view,
    assumptions: block?.block.assumptions ?? [],
  };
}

/** First tap and number of taps per axis of the fused kernel: branches are drawn in its frame. */
interface Frame {
  readonly start: readonly number[];
  readonly count: readonly number[];
  readonly step: readonly number[];
}

function frameOf({ axes }: Affine): Frame {
  return {
    start: axes.map(({ taps }) => taps.start),
    count: axes.map(({ taps }) => taps.count),
    step: axes.map(({ taps }) => Math.max(1, taps.step)),
  };
}

async function branchKernel({ label, affine }: Branch, frame: Frame): Promise<KernelView> {
  const taps = tapCount(affine.axes);
  const squares = new Float64Array(taps);
  for (let begin = 0; begin < affine.outC; begin += ROWS) {
    const end = Math.min(affine.outC, begin + ROWS);
    const { values } = await affine.weights(begin, end, false);
    for (let i = 0; i < values.length; i++) squares[i % taps]! += values[i]! ** 2;
  }
  // Per entry of the fused kernel, so that branches of different support can be compared.
  const cells = affine.outC * affine.inC;
  const rms = placed(
    squares.map((sum) => Math.sqrt(sum / cells)),
    affine,
    frame,
  );
  const sum = squares.reduce((total, square) => total + square, 0);
  return {
    label,
    rows: frame.count[0] ?? 1,
    columns: frame.count[1] ?? 1,
    rms,
    norm: Math.sqrt(sum),
  };
}

/** Values of the branch's taps at their places among the fused kernel's. */
function placed(values: Float64Array, { axes }: Affine, { start, count, step }: Frame): number[] {
  const [rows = 1, columns = 1] = count;
  const result = new Array<number>(rows * columns).fill(0);
  const width = axes[1]?.taps.count ?? 1;
  values.forEach((value, i) => {
    const at = [Math.floor(i / width), i % width].map((index, axis) => {
      const taps = axes[axis]?.taps;
      return taps ? (taps.start + index * taps.step - start[axis]!) / step[axis]! : 0;
    });
    result[at[0]! * columns + at[1]!] = value;
  });
  return result;
}

async function fusedKernelView(
  kernel: Kernel,
  task: TaskOptions,
): Promise<{ view: BlockView["fused"]; cancellation: number }> {
  const [outC = 0, perGroup = 0, rows = 1, columns = 1] = kernel.shape;
  const taps = rows * columns;
  const squares = new Float64Array(taps);
  let [magnitudes, results] = [0, 0];
  const mosaicRows = Math.min(outC, MOSAIC);
  const mosaicColumns = Math.min(perGroup, MOSAIC);
  const mosaic = new Float32Array(mosaicRows * mosaicColumns * taps);
  for (let begin = 0; begin < outC; begin += ROWS) {
    throwIfAborted(task.signal);
    const end = Math.min(outC, begin + ROWS);
    const { values, bounds } = await kernel.rows(begin, end, true);
    for (let i = 0; i < values.length; i++) {
      squares[i % taps]! += values[i]! ** 2;
      magnitudes += bounds[i]!;
      results += Math.abs(values[i]!);
    }
    for (let o = begin; o < Math.min(end, mosaicRows); o++) {
      const row = values.subarray((o - begin) * perGroup * taps, (o - begin + 1) * perGroup * taps);
      mosaic.set(row.subarray(0, mosaicColumns * taps), o * mosaicColumns * taps);
    }
  }
  const cells = elementCount([outC, perGroup]);
  const rms = [...squares].map((sum) => Math.sqrt(sum / cells));
  const norm = Math.sqrt(squares.reduce((total, square) => total + square, 0));
  return {
    view: { label: "fused", rows, columns, rms, norm, mosaicRows, mosaicColumns, mosaic },
    cancellation: results === 0 ? 1 : magnitudes / results,
  };
}
