/**
 * @file Which parts of a cone become one convolution each.
 *
 * A part is a value with all nodes behind it. It may be fused if no inner value is a graph output or read outside, and
 * if the one convolution costs no more than the nodes. Such parts are nested or apart, so taking the latest first
 * takes the largest.
 */

import { type Affine, tapCount } from "../algebra/affine.ts";
import { emission } from "../algebra/emit.ts";
import { elementCount } from "../core/tensor.ts";
import { isOp, type Node, nodeLabel } from "../ir/graph.ts";
import {
  addCost,
  costsMoreInAll,
  emissionCost,
  isLinearLayer,
  kernelSize,
  NO_COST,
  nodeCost,
} from "./cost.ts";
import type { Cone } from "./interpret.ts";
import type { Interpreter, Root } from "./interpreter.ts";
import type { Refusal, Region } from "./plan-types.ts";
import { ruleOf } from "./rules/index.ts";

/** Largest kernel that is made: 2³⁰ numbers. Hostile paddings and dilations ask for more. */
const MAX_KERNEL_NUMBERS = 2 ** 30;

interface Candidate {
  readonly output: string;
  readonly nodes: readonly Node[];
}

export interface Choice {
  readonly regions: Region[];
  /** Parts that join branches and are not fused, the smallest part for each join. */
  readonly refusals: Refusal[];
}

/** Regions of one cone, none of which touches a node of `taken`. */
export function chooseRegions(
  interpreter: Interpreter,
  cone: Cone,
  root: Root,
  taken: ReadonlySet<Node>,
  allowCostlier: boolean,
): Choice {
  const regions: Region[] = [];
  const chosen = new Set<Node>();
  const refused = new Map<Node, Refusal>();
  const prefixes = conePrefixes(interpreter, cone);
  for (let position = cone.nodes.length - 1; position >= 0; position--) {
    const node = cone.nodes[position]!;
    for (const output of node.outputs) {
      const meaning = cone.meanings.get(output);
      if (!meaning || chosen.has(node) || taken.has(node)) continue;
      if (!allowCostlier && surelyCostlier(meaning, prefixes[position]!)) continue;
      const candidate = { output, nodes: nodesBehind(cone, output, interpreter) };
      if (candidate.nodes.some((n) => chosen.has(n) || taken.has(n))) continue;
      if (!worthFusing(interpreter, candidate)) continue;
      const reason = whyNotClosed(interpreter, candidate) ?? whyNotOne(meaning);
      const region = reason ? undefined : regionOf(interpreter, cone, root, candidate, meaning);
      const costlier =
        region && !allowCostlier ? whyCostlier(interpreter, cone, region) : undefined;
      if (region && !costlier) {
        regions.push(region);
        for (const n of region.nodes) chosen.add(n);
        continue;
      }
      const joint = candidate.nodes.findLast((n) => isJoint(cone, n));
      if (joint) {
        refused.set(joint, { output, nodes: candidate.nodes, reason: (reason ?? costlier)! });
      }
    }
  }
  const refusals = [...refused].flatMap(([joint, refusal]) => (chosen.has(joint) ? [] : [refusal]));
  return { regions: regions.reverse(), refusals };
}

/** What is known of all nodes of a cone up to one of them. */
interface Prefix {
  /** Kernel numbers of its linear layers. */
  readonly kernels: number;
  readonly joints: boolean;
}

function conePrefixes({ constants }: Interpreter, cone: Cone): Prefix[] {
  let [kernels, joints] = [0, false];
  return cone.nodes.map((node) => {
    kernels += kernelSize(node, constants);
    joints ||= isJoint(cone, node);
    return { kernels, joints };
  });
}

/**
 * Whether one convolution costs more than all layers before it could, even if each ran on every input position. Keeps
 * long linear chains linear in time; where branches are joined, the reason has to be found in full.
 */
function surelyCostlier(v: Affine, { kernels, joints }: Prefix): boolean {
  const strides = v.axes.reduce((product, axis) => product * axis.stride, 1);
  return !joints && v.outC * v.support.width * tapCount(v.axes) > kernels * strides;
}

/** Whether a node joins two branches of the cone. */
export function isJoint(cone: Pick<Cone, "meanings">, node: Node): boolean {
  return node.inputs.filter((input) => cone.meanings.has(input)).length > 1;
}

/** A linear layer that can carry the rest, and something to carry: another node, or computed parameters. */
function worthFusing({ constants }: Interpreter, { nodes }: Candidate): boolean {
  const layers = nodes.filter(isLinearLayer);
  if (layers.length === 0) return false;
  const idle = ["Identity", "Dropout", "Cast"];
  const working = nodes.filter((node) => ruleOf(node) && !idle.some((op) => isOp(node, op)));
  if (working.length > 1) return true;
  return layers.some((node) =>
    node.inputs.slice(1).some((input) => (constants.get(input)?.depth ?? 0) > 0),
  );
}

function nodesBehind(cone: Cone, output: string, { index }: Interpreter): Node[] {
  const found = new Set<Node>();
  const stack = [output];
  while (stack.length > 0) {
    const value = stack.pop()!;
    if (!cone.inner.has(value)) continue;
    const producer = index.producer(value);
    if (!producer || found.has(producer)) continue;
    found.add(producer);
    stack.push(...producer.inputs);
  }
  return [...found].sort((a, b) => index.position(a) - index.position(b));
}

function regionOf(
  { constants }: Interpreter,
  cone: Cone,
  root: Root,
  candidate: Candidate,
  affine: Affine,
): Region {
  const emitted = emission(affine);
  const before = candidate.nodes
    .filter(isLinearLayer)
    .map((node) => nodeCost(node, cone.meanings.get(node.outputs[0]!)!, affine, constants))
    .reduce(addCost, NO_COST);
  return {
    input: cone.input,
    output: candidate.output,
    nodes: candidate.nodes,
    affine,
    emission: emitted,
    before,
    after: emissionCost(affine, emitted),
    dtype: root.dtype,
  };
}

/** Why the inner values of a region cannot disappear. */
function whyNotClosed({ index }: Interpreter, { output, nodes }: Candidate): string | undefined {
  const inside = new Set(nodes);
  for (const node of nodes) {
    for (const value of node.outputs) {
      if (value === output || value === "") continue;
      if (index.isOutput(value)) return `its inner value ${value} is an output of the graph`;
      const reader = index.uses(value).find((use) => !inside.has(use));
      if (reader) return `its inner value ${value} is also read by ${nodeLabel(reader)}`;
    }
  }
  return undefined;
}

/** Why the value cannot be one operator whatever it costs. */
function whyNotOne(v: Affine): string | undefined {
  const kernel = v.outC * v.support.width * tapCount(v.axes);
  return kernel <= MAX_KERNEL_NUMBERS
    ? undefined
    : `one convolution would store ${kernel} kernel numbers, at most ${MAX_KERNEL_NUMBERS} are made`;
}

function whyCostlier({ constants }: Interpreter, cone: Cone, region: Region): string | undefined {
  const { before, after, affine } = region;
  if (after.macs > before.macs) {
    return `one convolution costs ${after.macs} multiply-accumulates per position, the nodes cost ${before.macs}`;
  }
  if (after.parameters > before.parameters) {
    return `one convolution stores ${after.parameters} kernel numbers, the nodes store ${before.parameters}`;
  }
  const layers = region.nodes.filter(isLinearLayer).map((node) => ({
    kernel: elementCount(constants.get(node.inputs[1]!)!.tensor.shape),
    meaning: cone.meanings.get(node.outputs[0]!)!,
  }));
  return costsMoreInAll(after.macs, affine, layers)
    ? "one convolution would also compute the padding that follows the last kernel"
    : undefined;
}
