/**
 * @file The blocks that can be put in place of a convolution, as lists of branches under their families' key names.
 * The dense branch named by `dense` is chosen last, so that the sum is the original convolution.
 */

import type { ConvAxis } from "../../algebra/convolve.ts";
import {
  type Branch,
  type ConvGeometry,
  type ConvStep,
  denseBranch,
  identityBranch,
  type LeftOutBranch,
  middleTap,
  pointwiseBranch,
  wholeKernel,
  windowBranch,
} from "./branch.ts";

export type BlockKind = "repvgg" | "mobileone" | "acnet" | "dbb";

export const BLOCK_KINDS: readonly BlockKind[] = ["repvgg", "mobileone", "acnet", "dbb"];

export interface BlockOptions {
  /** Dense branches of a MobileOne block. Default 4, as in the first stage of MobileOne-S0. */
  readonly branches?: number | undefined;
}

export interface Block {
  /** In the order in which the family's module registers them. */
  readonly branches: readonly Branch[];
  /** The one of them that makes the sum right. */
  readonly dense: Branch;
  readonly leftOut: readonly LeftOutBranch[];
}

/** Most dense branches of one MobileOne block: the paper's largest is 4, ablations go to 10. */
export const MAX_DENSE_BRANCHES = 16;

const DEFAULT_DENSE_BRANCHES = 4;

/** The block of a kind for one convolution. */
export function blockFor(
  kind: BlockKind,
  geometry: ConvGeometry,
  options: BlockOptions = {},
): Block {
  switch (kind) {
    case "repvgg":
      return repVggBlock(geometry);
    case "mobileone":
      return mobileOneBlock(geometry, options.branches ?? DEFAULT_DENSE_BRANCHES);
    case "acnet":
      return acBlock(geometry);
    case "dbb":
      return diverseBlock(geometry);
  }
}

function convBn(prefix: string): { conv: string; bn: string } {
  return { conv: `${prefix}.conv`, bn: `${prefix}.bn` };
}

function repVggBlock(geometry: ConvGeometry): Block {
  const identity = identityBranch(geometry, "rbr_identity");
  const dense = denseBranch(geometry, convBn("rbr_dense"));
  return {
    branches: [...present(identity), dense, pointwiseBranch(geometry, convBn("rbr_1x1"))],
    dense,
    leftOut: absent("rbr_identity", identity),
  };
}

function mobileOneBlock(geometry: ConvGeometry, count: number): Block {
  const skip = identityBranch(geometry, "rbr_skip");
  const denses = Array.from({ length: count }, (_, n) =>
    denseBranch(geometry, convBn(`rbr_conv.${n}`)),
  );
  const scale = pointwiseBranch(geometry, convBn("rbr_scale"));
  return {
    branches: [...present(skip), ...denses, scale],
    dense: denses[0]!,
    leftOut: absent("rbr_skip", skip),
  };
}

/** A square kernel and its middle column and row. */
function acBlock(geometry: ConvGeometry): Block {
  const dense = denseBranch(geometry, { conv: "square_conv", bn: "square_bn" });
  const leftOut: LeftOutBranch[] = [];
  const branches = [dense];
  for (const [axis, name] of ["ver", "hor"].entries()) {
    const branch = crossBranch(geometry, axis, name);
    if (typeof branch === "string") leftOut.push({ branch: `${name}_conv`, reason: branch });
    else branches.push(branch);
  }
  return { branches, dense, leftOut };
}

/** All taps along one axis, the middle one along every other. */
function crossBranch(geometry: ConvGeometry, along: number, name: string): Branch | string {
  const { axes } = geometry;
  if (axes.length !== 2) return `the kernel has ${axes.length} spatial axes, a cross needs 2`;
  if (axes.some((axis) => axis.kernel === 1)) return "the kernel is a single row or column already";
  const ranges = axes.map((axis, i) =>
    i === along ? { first: 0, count: axis.kernel } : { first: middleTap(axis), count: 1 },
  );
  return windowBranch(geometry, ranges, { conv: `${name}_conv`, bn: `${name}_bn` }, "window");
}

function diverseBlock(geometry: ConvGeometry): Block {
  const dense = denseBranch(geometry, convBn("dbb_origin"));
  const average = averageBranch(geometry);
  const { inC, outC, group } = geometry;
  // The family gives filters of their own (as many groups as outputs) no pointwise branch: it would only scale them.
  const separate = group === outC;
  const pointwise = separate
    ? "every output channel has a group of its own"
    : pointwiseBranch(geometry, convBn("dbb_1x1"));
  const chain = chainBranch(geometry, separate ? 2 * inC : inC);
  return {
    branches: [dense, ...present(average), ...present(pointwise), chain],
    dense,
    leftOut: [...absent("dbb_avg", average), ...absent("dbb_1x1", pointwise)],
  };
}

const UNIT_AXIS: Pick<ConvAxis, "kernel" | "stride" | "dilation"> = {
  kernel: 1,
  stride: 1,
  dilation: 1,
};

/** A pointwise convolution that pads its input: beyond the border it gives zero, and its batch norm its own shift. */
function paddedPointwise(
  geometry: ConvGeometry,
  key: string,
  outC: number,
  start: ConvStep["start"],
): ConvStep {
  const axes = geometry.axes.map(({ beginPad, endPad }) => ({ ...UNIT_AXIS, beginPad, endPad }));
  return { ...geometry, op: "conv", key, outC, axes, start };
}

function unpadded(axis: ConvAxis): ConvAxis {
  return { ...axis, beginPad: 0, endPad: 0 };
}

const noCrops = (geometry: ConvGeometry): number[] => geometry.axes.map(() => 0);

function averageBranch(geometry: ConvGeometry): Branch | string {
  const { axes, outC, inC, group } = geometry;
  if (axes.some((axis) => axis.dilation !== 1)) return "average pooling has no dilation";
  const crops = { beginCrops: noCrops(geometry), endCrops: noCrops(geometry) };
  const shape = { kind: "average", window: wholeKernel(geometry), ...crops } as const;
  const bn = { op: "bn", key: "dbb_avg.avgbn", channels: outC } as const;
  if (group === outC) {
    if (inC !== outC) return `${inC} input and ${outC} output channels in as many groups`;
    const average = { op: "average", channels: inC, axes } as const;
    return { ...shape, steps: [average, { ...bn, scale: "floor" }] };
  }
  return {
    ...shape,
    steps: [
      paddedPointwise(geometry, "dbb_avg.conv", outC, "floor"),
      { op: "bn", key: "dbb_avg.bn.bn", channels: outC, scale: "one" },
      { op: "average", channels: outC, axes: axes.map(unpadded) },
      { ...bn, scale: "one" },
    ],
  };
}

/** 1×1 to `inner` channels, then k×k. */
function chainBranch(geometry: ConvGeometry, inner: number): Branch {
  const { inC, outC, group, axes } = geometry;
  const isIdentity = inner === inC;
  const key = isIdentity ? "dbb_1x1_kxk.idconv1" : "dbb_1x1_kxk.conv1";
  const second: ConvStep = {
    ...{ op: "conv", key: "dbb_1x1_kxk.conv2", start: isIdentity ? "window" : "paths" },
    ...{ inC: inner, outC, group, axes: axes.map(unpadded) },
  };
  return {
    kind: "chain",
    beginCrops: noCrops(geometry),
    endCrops: noCrops(geometry),
    steps: [
      paddedPointwise(geometry, key, inner, isIdentity ? "identity" : "signs"),
      { op: "bn", key: "dbb_1x1_kxk.bn1.bn", channels: inner, scale: "one" },
      second,
      { op: "bn", key: "dbb_1x1_kxk.bn2", channels: outC, scale: "one" },
    ],
    window: wholeKernel(geometry),
  };
}

function present(branch: Branch | string): Branch[] {
  return typeof branch === "string" ? [] : [branch];
}

function absent(name: string, branch: Branch | string): LeftOutBranch[] {
  return typeof branch === "string" ? [{ branch: name, reason: branch }] : [];
}
