/**
 * @file Whether a kernel was stored at lower precision: all its numbers lie on the grid of a narrower format, and
 * every one is the exact value rounded to that grid.
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../core/dtype.ts";
import { elementCount } from "../core/tensor.ts";
import { deviation, type Unit } from "./deviation.ts";
import type { Kernel } from "./side.ts";

export type LowerFormat = "float16" | "bfloat16" | "tfloat32" | "int8";

export interface Lowered {
  readonly format: LowerFormat;
  /** Steps of the format's grid needed to explain the difference; at most 1 when it is that format. */
  readonly omega: number;
  /** Every format that explains the numbers, narrowest first: few numbers of usual size may lie on several grids. */
  readonly fits: readonly LowerFormat[];
}

/**
 * Half the distance between neighbours, relative to the number: 2⁻¹¹ for 10 stored fraction bits, 2⁻⁸ for 7.
 * TF32 units truncate in some hardware, so its step is a whole one, 2⁻¹⁰.
 */
const RELATIVE_STEP: Readonly<Record<Exclude<LowerFormat, "int8">, number>> = {
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
  tfloat32: 2 ** -10,
};
/**
 * Half the smallest subnormal: 2⁻²⁴ for float16; bfloat16 and TF32 have float32's exponents, from 2⁻¹²⁶, and 7 or 10
 * fraction bits below. TF32 a whole one, as above.
 */
const ABSOLUTE_STEP: Readonly<Record<Exclude<LowerFormat, "int8">, number>> = {
  float16: 2 ** -25,
  bfloat16: 2 ** -134,
  tfloat32: 2 ** -136,
};
const FLOAT32_UNIT = 2 ** -24;
/**
 * What was rounded to the grid is the float32 fuse, at most k·u·A from the exact number by which the step is taken: a
 * part 2⁻¹⁰ or less of those roundings on top of them (2⁻⁷ for bfloat16, whose own step is larger by more than that).
 */
const SLACK = 1 + 2 ** -10;

/** The narrower format that explains `found`, if one does. */
export async function findLowerPrecision(
  expected: Kernel,
  found: Kernel,
  signal?: AbortSignal,
): Promise<Lowered | undefined> {
  const outC = found.shape[0] ?? 0;
  // One filter off every grid decides, and costs nothing beside reading them all.
  if (outC > 1 && !mayBeLower((await found.rows(0, 1, false)).values)) return undefined;
  const { values } = await found.rows(0, outC, false);
  // Narrowest first: every bfloat16 or float16 number of usual size is a tfloat32 number, too.
  const formats = (["bfloat16", "float16", "tfloat32"] as const).filter((format) =>
    values.every((value) => onGrid(value, format)),
  );
  const k = Math.max(expected.roundings.weight, expected.roundings.bias);
  const fitting: { format: LowerFormat; omega: number }[] = [];
  for (const format of formats) {
    const step: Unit = {
      at: (exact, bound) => loweredStep(exact, format) + k * FLOAT32_UNIT * bound,
    };
    const { weight, bias } = await deviation(expected, found, { weight: step, bias: step }, signal);
    const omega = Math.max(weight.omega, bias.omega);
    if (omega <= SLACK) fitting.push({ format, omega });
  }
  if (fitting[0]) return { ...fitting[0], fits: fitting.map((one) => one.format) };
  const steps = int8Steps(values, outC);
  if (!steps) return undefined;
  const rowSize = elementCount(found.shape.slice(1));
  const gridStep: Unit = {
    at: (_, bound, index) => steps[Math.floor(index / rowSize)]! / 2 + k * FLOAT32_UNIT * bound,
  };
  const biasStep: Unit = {
    at: (exact, bound) => RELATIVE_STEP.float16 * Math.abs(exact) + k * FLOAT32_UNIT * bound,
  };
  const { weight, bias } = await deviation(
    expected,
    found,
    { weight: gridStep, bias: biasStep },
    signal,
  );
  const omega = Math.max(weight.omega, bias.omega);
  return omega <= SLACK ? { format: "int8", omega, fits: ["int8"] } : undefined;
}

/** How far storing an exact number in the format may move it. */
export function loweredStep(exact: number, format: Exclude<LowerFormat, "int8">): number {
  return RELATIVE_STEP[format] * Math.abs(exact) + ABSOLUTE_STEP[format];
}

function mayBeLower(row: Float64Array): boolean {
  const formats = ["float16", "tfloat32", "bfloat16"] as const;
  return (
    formats.some((format) => row.every((value) => onGrid(value, format))) ||
    int8Steps(row, 1) !== undefined
  );
}

const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

export function onGrid(value: number, format: Exclude<LowerFormat, "int8">): boolean {
  if (format === "float16") return float16ToNumber(numberToFloat16(value)) === value;
  if (format === "bfloat16") return bfloat16ToNumber(numberToBfloat16(value)) === value;
  scratch[0] = value;
  return scratch[0] === value && (bits[0]! & 0x1fff) === 0;
}

/** Levels of 8 bits on one side of zero. */
const INT8_LEVELS = 128;
/**
 * A stored level is a product of an integer and a step, each rounded to float32, and so is the largest level by which
 * the step is found: three roundings of 2⁻²⁴, taken as four.
 */
const LEVEL_ERROR = 4 * 2 ** -24;
/**
 * Levels beyond the first of each filter that have to fit before the grid counts as seen. By chance one lies within
 * 2⁻²² of a multiple of a 128th with probability 2⁻¹⁴, for any of 128 steps 2⁻⁷; eight of them 2⁻⁵⁶.
 */
const MIN_GRID_EVIDENCE = 8;

/** Grid step of each filter when every filter has at most 8-bit many equally spaced levels around zero. */
function int8Steps(values: Float64Array, outC: number): Float64Array | undefined {
  const rowSize = values.length / outC;
  const steps = new Float64Array(outC);
  let evidence = 0;
  for (let o = 0; o < outC; o++) {
    const row = values.subarray(o * rowSize, (o + 1) * rowSize);
    const levels = [...new Set(row.map(Math.abs))].filter((level) => level > 0);
    const step = gridStepOf(levels);
    if (step === undefined) return undefined;
    steps[o] = step;
    evidence += Math.max(0, levels.length - 1);
  }
  return evidence >= MIN_GRID_EVIDENCE ? steps : undefined;
}

/** The finest step of which all levels are multiples and the largest at most 128 times: it excuses least. */
function gridStepOf(levels: readonly number[]): number | undefined {
  if (levels.length > INT8_LEVELS) return undefined;
  const top = Math.max(0, ...levels);
  for (let count = INT8_LEVELS; count > 0; count--) {
    const step = top / count;
    const fits = levels.every(
      (level) => Math.abs(level - Math.round(level / step) * step) <= top * LEVEL_ERROR,
    );
    if (fits) return step;
  }
  return undefined;
}
