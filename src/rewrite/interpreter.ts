/** @file What interpretation knows of a graph before it starts, and where a cone starts. */

import type { FloatDType } from "../core/dtype.ts";
import type { Graph } from "../ir/graph.ts";
import { type GraphIndex, indexGraph } from "../ir/index-graph.ts";
import type { ValueType } from "../ir/infer-shapes.ts";
import { type Constant, collectConstants } from "./constants.ts";

export interface Interpreter {
  readonly graph: Graph;
  readonly index: GraphIndex;
  readonly constants: ReadonlyMap<string, Constant>;
  readonly opset: number;
  /** Inferred types by value name; empty when they are not known. */
  readonly types: ReadonlyMap<string, ValueType>;
}

export async function createInterpreter(
  graph: Graph,
  opset: number,
  types: ReadonlyMap<string, ValueType> = new Map(),
): Promise<Interpreter> {
  const constants = await collectConstants(graph, opset);
  return { graph, index: indexGraph(graph), constants, opset, types };
}

/** Where a cone starts. */
export interface Root {
  readonly channels: number;
  readonly spatialRank: number;
  /** Spatial lengths where the model fixes them. */
  readonly sizes: readonly (number | undefined)[];
  readonly batch: number | undefined;
  /** Element type of the value and of the parameters that meet it. */
  readonly dtype: FloatDType;
}
