/** @file What planning answers: regions, refusals and totals, as data. */

import type { Affine } from "../algebra/affine.ts";
import type { Emission } from "../algebra/emit.ts";
import type { FloatDType } from "../core/dtype.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Node } from "../ir/graph.ts";
import type { Cost } from "./cost.ts";

/** A part of the graph that becomes one convolution (one `Gemm` where there are no spatial axes). */
export interface Region {
  readonly input: string;
  readonly output: string;
  /** In topological order; those that only compute shapes or index tensors of inner values included. */
  readonly nodes: readonly Node[];
  readonly affine: Affine;
  readonly emission: Emission;
  readonly before: Cost;
  readonly after: Cost;
  /** Element type of the parameters it replaces, and of the new ones. */
  readonly dtype: FloatDType;
}

/** Something that looks as if it could be fused, and why it is not. */
export interface Refusal {
  /** The value whose computation stays as it is. */
  readonly output: string;
  readonly nodes: readonly Node[];
  readonly reason: string;
}

/** Of a whole graph (its subgraphs left out). */
export interface GraphTotals {
  readonly nodes: number;
  /** Stored floating-point numbers: initializers and `Constant` nodes. */
  readonly parameters: number;
  /** Multiply-accumulates of all linear layers for one image; undefined where a size is not known. */
  readonly macs: number | undefined;
}

export interface Plan {
  readonly regions: readonly Region[];
  readonly refusals: readonly Refusal[];
  /** The graph as it is. */
  readonly before: GraphTotals;
  /** The graph after `applyPlan` and `cleanModel`. */
  readonly after: GraphTotals;
}

export interface PlanOptions extends TaskOptions {
  /** Also fuse where one convolution costs more multiply-accumulates or kernel numbers. Default false. */
  readonly allowCostlier?: boolean;
}
