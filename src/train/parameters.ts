/**
 * @file Which weights of a model are trained, and where they lie. All parameters are one vector, and so are all running
 * statistics: an optimizer step is a handful of operators however many layers the net has.
 */

import { ReparamError } from "../core/errors.ts";
import { elementCount, type Shape } from "../core/tensor.ts";
import { isOp, type Model, type Node, nodeLabel } from "../ir/graph.ts";

/** A named piece of a flat vector. */
export interface FlatEntry {
  readonly name: string;
  readonly shape: Shape;
  readonly offset: number;
  readonly size: number;
}

export interface ParameterLayout {
  readonly parameters: readonly FlatEntry[];
  /** Running means and variances of the BatchNormalization nodes that are trained. */
  readonly statistics: readonly FlatEntry[];
  readonly parameterCount: number;
  readonly statisticCount: number;
}

export interface LayoutOptions {
  /** Weights whose name starts with one of these are not trained; their BatchNormalization keeps its statistics. */
  readonly frozen?: readonly string[];
}

/** Inputs that hold weights, per operator; elementwise operators only count constants of more than one element. */
const WEIGHT_INPUTS: Readonly<Record<string, readonly number[]>> = {
  Conv: [1, 2],
  Gemm: [1, 2],
  MatMul: [0, 1],
  BatchNormalization: [1, 2],
  PRelu: [1],
};
const ELEMENTWISE = new Set(["Add", "Sub", "Mul", "Div"]);

/** Reads off the trained weights in graph order. Throws `refused` for weights that are not float32, `usage` for none. */
export function parameterLayout(model: Model, options: LayoutOptions = {}): ParameterLayout {
  const { frozen = [] } = options;
  const { initializers, nodes } = model.graph;
  const isFrozen = (name: string): boolean => frozen.some((prefix) => name.startsWith(prefix));
  for (const prefix of frozen) {
    if (![...initializers.keys()].some((name) => name.startsWith(prefix))) {
      throw new ReparamError("usage", {
        where: `frozen prefix ${JSON.stringify(prefix)}`,
        what: "no weight of the model starts with it",
        fix: "List the weights with reparam inspect",
      });
    }
  }
  const chosen = new Set<string>();
  const running = new Set<string>();
  for (const node of nodes) {
    for (const name of weightsOf(node)) {
      const weight = initializers.get(name);
      if (!weight || isFrozen(name) || weight.shape.length === 0) continue;
      if (ELEMENTWISE.has(node.opType) && elementCount(weight.shape) === 1) continue;
      if (weight.dtype !== "float32") {
        throw new ReparamError("refused", {
          where: `weight ${name}`,
          what: `its dtype is ${weight.dtype}, expected float32`,
          fix: "Train in float32 and convert afterwards",
        });
      }
      chosen.add(name);
    }
  }
  for (const node of nodes) {
    if (!isTrainedBatchNorm(node, chosen)) continue;
    for (const input of [3, 4]) {
      const name = node.inputs[input] ?? "";
      if (!initializers.has(name)) {
        throw new ReparamError("refused", {
          where: `node ${nodeLabel(node)} (BatchNormalization)`,
          what: "its running statistics are computed, expected constants",
          fix: "Freeze it, or export the model for inference",
        });
      }
      running.add(name);
    }
  }
  if (chosen.size === 0) {
    throw new ReparamError("usage", {
      where: "model",
      what: "no weight is left to train",
      fix: "Freeze fewer prefixes",
    });
  }
  const inOrder = [...initializers.keys()];
  const parameters = flatEntries(
    model,
    inOrder.filter((name) => chosen.has(name)),
  );
  const statistics = flatEntries(
    model,
    inOrder.filter((name) => running.has(name)),
  );
  return {
    parameters,
    statistics,
    parameterCount: sizeOf(parameters),
    statisticCount: sizeOf(statistics),
  };
}

function weightsOf(node: Node): string[] {
  if (!isOp(node, node.opType)) return [];
  const inputs = ELEMENTWISE.has(node.opType) ? [0, 1] : WEIGHT_INPUTS[node.opType];
  return (inputs ?? []).flatMap((i) => node.inputs[i] || []);
}

/** A BatchNormalization trains, and follows its batches, iff its γ does. */
export function isTrainedBatchNorm(node: Node, trained: ReadonlySet<string>): boolean {
  return isOp(node, "BatchNormalization") && trained.has(node.inputs[1] ?? "");
}

function flatEntries(model: Model, names: readonly string[]): FlatEntry[] {
  let offset = 0;
  return names.map((name) => {
    const shape = model.graph.initializers.get(name)!.shape;
    const size = elementCount(shape);
    const entry = { name, shape, offset, size };
    offset += size;
    return entry;
  });
}

function sizeOf(entries: readonly FlatEntry[]): number {
  const last = entries.at(-1);
  return last ? last.offset + last.size : 0;
}

/**
 * RepVGG's rule for weight decay: none on biases and on the γ of `rbr_dense` and `rbr_1x1`, but on the γ of
 * `rbr_identity` (it is a kernel: the identity branch has no convolution). Said for any net: vectors do not decay.
 */
export function decays(entry: FlatEntry): boolean {
  return entry.shape.length > 1 || entry.name.endsWith("rbr_identity.weight");
}
