/**
 * @file The whole kernel in another order: output or input channels permuted, or the axes stored in another layout.
 * Permutations are found by matching a few numbers of every channel, then proved on all numbers.
 */

import type { Bounded } from "../algebra/affine.ts";
import { elementCount } from "../core/tensor.ts";
import type { Kernel } from "../verify/side.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import {
  biasesInOrder,
  describeOrder,
  findOrders,
  MAX_LISTED,
  rowsInOrder,
  type Subject,
} from "./channel-order.ts";
import { preparedFrom } from "./confirm.ts";
import { isNear, type Tolerance } from "./samples.ts";

export interface Rearrangement {
  readonly cause: "output-channels-permuted" | "input-channels-permuted" | "kernel-layout";
  readonly detail: string;
  readonly evidence: Readonly<Record<string, number | string | readonly number[]>>;
  /** The expected kernel in that order. */
  readonly kernel: Kernel;
}

/** Kernels beyond this are not searched for other layouts, which needs all numbers at once: 256 MiB with bounds. */
const MAX_LAYOUT_ELEMENTS = 2 ** 24;
/** Orders that explain what was sampled; the caller proves them with ω. */
export async function findRearrangements(
  certificate: BlockCertificate,
  tolerance: Tolerance,
): Promise<Rearrangement[]> {
  const { expected, found } = certificate.pair;
  if (!found) return [];
  const [outC = 0, width = 0, ...kernelShape] = expected.shape;
  const taps = elementCount(kernelShape);
  const whole: Subject = {
    ...{ outC, width, taps },
    row: (o) => expected.rows(o, o + 1, true),
    biases: () => expected.biases(),
  };
  const results: Rearrangement[] = [];
  for await (const order of findOrders(whole, found, tolerance)) {
    const rows = rowsInOrder(expected.rows, order, whole);
    const isColours = order.axis === "input" && order.order.join() === "2,1,0";
    results.push({
      cause: `${order.axis}-channels-permuted`,
      detail: isColours ? "RGB against BGR" : describeOrder(order),
      evidence: { order: order.order.slice(0, MAX_LISTED) },
      kernel: {
        ...expected,
        rows,
        biases: biasesInOrder(expected.biases, order),
        prepare: (begin, end) => preparedFrom(rows, width * taps, begin, end),
      },
    });
  }
  return [...results, ...(await otherLayouts(expected, found, tolerance))];
}

/** Where the number at `[o, i, tap]` of the deploy kernel stands in the exact one. */
interface LayoutMap {
  readonly name: string;
  readonly words: string;
  source(o: number, i: number, t: number): readonly [number, number, number];
}

const AXIS_WORDS = { O: "out", I: "in", H: "height", W: "width" } as const;

/** Orders in which frameworks store the axes; height and width stay together, as taps. */
const LAYOUTS = ["HWIO", "OHWI", "HWOI", "IOHW"] as const;

function layoutMaps(outC: number, width: number, taps: number): LayoutMap[] {
  if (outC * width * taps > MAX_LAYOUT_ELEMENTS || width <= 1) return [];
  const sizes = { O: outC, I: width, H: taps };
  return LAYOUTS.map((name) => {
    const words = [...name].map((axis) => AXIS_WORDS[axis as keyof typeof AXIS_WORDS]);
    const axes = [...name.replace("W", "")].reverse() as (keyof typeof sizes)[];
    return {
      name,
      words: `stored as [${words.join(", ")}] and read as [out, in, height, width]`,
      source: (o, i, t) => {
        const at = { O: 0, I: 0, H: 0 };
        let flat = (o * width + i) * taps + t;
        for (const axis of axes) {
          at[axis] = flat % sizes[axis];
          flat = Math.floor(flat / sizes[axis]);
        }
        return [at.O, at.I, at.H];
      },
    };
  });
}

async function otherLayouts(
  expected: Kernel,
  found: Kernel,
  tolerance: Tolerance,
): Promise<Rearrangement[]> {
  const [outC = 0, width = 0, ...kernelShape] = expected.shape;
  const taps = elementCount(kernelShape);
  const rowSize = width * taps;
  const results: Rearrangement[] = [];
  const probe = (await found.rows(0, 1, false)).values;
  let all: Promise<Bounded> | undefined;
  for (const map of layoutMaps(outC, width, taps)) {
    if (!(await probeFits(expected, map, probe, width, taps, tolerance))) continue;
    const rows: Kernel["rows"] = async (begin, end) => {
      all ??= expected.rows(0, outC, true);
      const whole = await all;
      const pick = (from: Float64Array): Float64Array =>
        Float64Array.from({ length: (end - begin) * rowSize }, (_, at) => {
          const inside = at % rowSize;
          const [o, i, t] = map.source(
            begin + Math.floor(at / rowSize),
            Math.floor(inside / taps),
            inside % taps,
          );
          return from[(o * width + i) * taps + t]!;
        });
      return { values: pick(whole.values), bounds: pick(whole.bounds) };
    };
    results.push({
      cause: "kernel-layout",
      detail: map.words,
      evidence: { layout: map.name },
      kernel: { ...expected, rows, prepare: (b, e) => preparedFrom(rows, rowSize, b, e) },
    });
  }
  return results;
}

/** Numbers of the first row looked at before all is read: effort alone, the first wrong one decides. */
const PROBES = 24;

async function probeFits(
  expected: Kernel,
  map: LayoutMap,
  probe: Float64Array,
  width: number,
  taps: number,
  tolerance: Tolerance,
): Promise<boolean> {
  const step = Math.max(1, Math.floor(probe.length / PROBES));
  let moved = false;
  for (let at = 1 % probe.length; at < probe.length; at += step) {
    const [o, i, t] = map.source(0, Math.floor(at / taps), at % taps);
    const row = await expected.rows(o, o + 1, true);
    const index = i * taps + t;
    if (o !== 0 || index !== at) moved = true;
    if (!isNear(probe[at]!, row.values[index]!, row.bounds[index]!, tolerance)) return false;
  }
  return moved && width * taps > 1;
}
