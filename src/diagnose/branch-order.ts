/**
 * @file The channels of one branch in another order, all others right. What the deploy kernel holds beyond the other
 * branches is matched with the branch, channel by channel at a few numbers; the order is then proved on all of them.
 */

import type { Affine } from "../algebra/affine.ts";
import { deviation } from "../verify/deviation.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { withInputOrder, withOutputOrder } from "./affine-edits.ts";
import type { Anatomy } from "./anatomy.ts";
import { omegaOf } from "./block-fault.ts";
import { sumOfParts, unitsOf } from "./confirm.ts";
import type { BlockFault } from "./finding.ts";
import { addRows, emptyRows, type Layout } from "./layout.ts";
import { describeOrder, isIdentity, MAX_LISTED, matchOrder } from "./rearranged.ts";
import { type Tolerance, toleranceOf } from "./samples.ts";
import { type TailFactors, tailFactors } from "./tail.ts";
import type { Variants } from "./variants.ts";

/** Undefined unless one order of one branch's channels explains every number. */
export async function findBranchOrder(
  certificate: BlockCertificate,
  variants: Variants,
  { grid }: Tolerance,
  signal?: AbortSignal,
): Promise<BlockFault | undefined> {
  const { anatomy, layout } = variants;
  const { branches } = anatomy;
  if (branches.length < 2) return undefined;
  const tolerance = toleranceOf(certificate, grid);
  const factors = await tailFactors(anatomy, "");
  for (const [j, { affine, label }] of branches.entries()) {
    // An identity has one number per row: its channels match anything.
    if (affine.support.width !== layout.width || layout.width * layout.outC < 2) continue;
    const rest = createRest(certificate, anatomy, layout, factors, j, tolerance);
    for (const axis of ["input", "output"] as const) {
      const order = await (axis === "input" ? inputOrder(rest) : outputOrder(rest));
      if (!order || isIdentity(order)) continue;
      const changed = (axis === "input" ? withInputOrder : withOutputOrder)(affine, order);
      const parts = branches.map((branch, i) => (i === j ? changed : branch.affine));
      const { expected, found } = certificate.pair;
      const kernel = sumOfParts(expected, variants, parts, {
        factors: anatomy.tail.length > 0 ? factors : undefined,
      });
      const { weight, bias } = await deviation(kernel, found!, unitsOf(tolerance), signal);
      if (!(weight.omega <= tolerance.k.weight && bias.omega <= tolerance.k.bias)) continue;
      return {
        block: certificate.name,
        cause: `${axis}-channels-permuted`,
        detail: `${label}: ${describeOrder(order, axis === "input" ? "input channel" : "filter")}`,
        confidence: "proved",
        evidence: {
          branch: label,
          order: order.slice(0, MAX_LISTED),
          omegaBefore: omegaOf(certificate),
          omegaAfter: Math.max(weight.omega, bias.omega),
        },
        faulty: kernel,
      };
    }
  }
  return undefined;
}

/** What is left for one branch, and whether a number of it could be there. */
interface Rest {
  readonly branch: Affine;
  readonly layout: Layout;
  /** Row `o` of the branch, in the block's layout. */
  branchRow(o: number): Promise<Row>;
  /** Row `o` of the deploy kernel. */
  row(o: number): Promise<RestRow>;
  biases(): Promise<{ readonly branch: Row; readonly rest: RestRow }>;
}

interface Row {
  readonly values: Float64Array;
  readonly bounds: Float64Array;
}

interface RestRow {
  /** Less the other branches. */
  readonly values: Float64Array;
  /** Whether number `at` is `value`, computed with `bound`. */
  fits(at: number, value: number, bound: number): boolean;
}

function createRest(
  certificate: BlockCertificate,
  { branches }: Anatomy,
  layout: Layout,
  { scale, shift, shiftBound }: TailFactors,
  j: number,
  { k, unit, floor, gridStep, gridFloor }: Tolerance,
): Rest {
  const found = certificate.pair.found!;
  const branch = branches[j]!.affine;
  const others = branches.filter((_, i) => i !== j).map(({ affine }) => affine);
  /** Everything divided by the tail's factor: that moves no rounding but those near zero. */
  const restRow = (
    values: Float64Array,
    other: Row,
    steps: number,
    scaleAt: (at: number) => number,
  ): RestRow => {
    const rest = values.map((value, at) => value - other.values[at]!);
    return {
      values: rest,
      fits: (at, value, bound) => {
        const [sum, exact] = [other.bounds[at]! + bound, other.values[at]! + value];
        const near = (steps * floor + gridFloor) / Math.abs(scaleAt(at));
        return (
          Math.abs(rest[at]! - value) <= steps * unit * sum + gridStep * Math.abs(exact) + near
        );
      },
    };
  };
  return {
    branch,
    layout,
    branchRow: async (o) => {
      const row = emptyRows(layout, 1, true);
      await addRows(branch, layout, o, o + 1, row);
      return row;
    },
    row: async (o) => {
      const other = emptyRows(layout, 1, true);
      for (const part of others) await addRows(part, layout, o, o + 1, other);
      const { values } = await found.rows(o, o + 1, false);
      return restRow(
        values.map((value) => value / scale[o]!),
        other,
        k.weight,
        () => scale[o]!,
      );
    },
    biases: async () => {
      const other = {
        values: shift.map((value, o) => value / scale[o]!),
        bounds: shiftBound.map((value, o) => value / Math.abs(scale[o]!)),
      };
      for (const part of others) {
        const { values, bounds } = await part.biases();
        for (let o = 0; o < layout.outC; o++) {
          other.values[o]! += values[o]!;
          other.bounds[o]! += bounds[o]!;
        }
      }
      const { values } = await found.biases();
      const rest = restRow(
        values.map((value, o) => value / scale[o]!),
        other,
        k.bias,
        (o) => scale[o]!,
      );
      return { branch: await branch.biases(), rest };
    },
  };
}

/** From three rows: input channel c holds what the branch has for channel order[c]. */
async function inputOrder({ layout, row, branchRow }: Rest): Promise<number[] | undefined> {
  const { width, taps, outC } = layout;
  if (width < 2) return undefined;
  const rows: { readonly rest: RestRow; readonly own: Row }[] = [];
  let order: number[] | undefined;
  // One row nearly always says that there is no order; three nearly always tell channels apart.
  for (const o of new Set([0, Math.floor(outC / 2), outC - 1])) {
    rows.push({ rest: await row(o), own: await branchRow(o) });
    order = matchOrder(width, (c, p) =>
      rows.every(({ rest, own }) => {
        for (let t = 0; t < taps; t++) {
          const from = p * taps + t;
          if (!rest.fits(c * taps + t, own.values[from]!, own.bounds[from]!)) return false;
        }
        return true;
      }),
    );
    if (!order) return undefined;
  }
  return order;
}

/** From the biases and, where those agree, all rows: filter o is the branch's filter order[o]. */
async function outputOrder({
  layout,
  row,
  branchRow,
  biases,
}: Rest): Promise<number[] | undefined> {
  const { outC, width, taps } = layout;
  const { branch, rest } = await biases();
  const byBias = matchOrder(outC, (o, p) => rest.fits(o, branch.values[p]!, branch.bounds[p]!));
  if (!byBias) return undefined;
  const [own, left]: [Row[], RestRow[]] = [[], []];
  const centre = Math.floor(taps / 2);
  const positions = [0, Math.floor(width / 2), width - 1].map((c) => c * taps + centre);
  for (let o = 0; o < outC; o++) {
    own.push(await branchRow(o));
    left.push(await row(o));
  }
  return matchOrder(outC, (o, p) =>
    positions.every((at) => left[o]!.fits(at, own[p]!.values[at]!, own[p]!.bounds[at]!)),
  );
}
