/**
 * @file Affine interpretation: walks forward from one value and gives every value that depends on it alone, through
 * operators with a rule, its affine meaning. Shapes and index tensors computed on the way are followed too, because
 * some exporters write paddings with them.
 */

import { type Affine, inputAffine, isRefused } from "../algebra/affine.ts";
import { ReparamError } from "../core/errors.ts";
import { type Graph, isOp, type Node, nodeLabel } from "../ir/graph.ts";
import { type Constant, foldNode } from "./constants.ts";
import { createInterpreter, type Interpreter, type Root } from "./interpreter.ts";
import { createNodeQueue } from "./node-queue.ts";
import { rootOf } from "./root.ts";
import { RECIPE_DOMAIN, ruleOf } from "./rules/index.ts";
import { type Bordered, writeBorder } from "./symbolic/border.ts";
import { type Batch, extentsOf } from "./symbolic/extent.ts";
import { symbolicResult } from "./symbolic/rules.ts";
import { constantSizes, type Symbolic, sizes } from "./symbolic/symbolic.ts";

/** A node whose operands have a meaning, but whose rule cannot be applied exactly. */
export interface RuleRefusal {
  readonly node: Node;
  readonly reason: string;
}

/** Everything that is affine in one value. */
export interface Cone {
  readonly input: string;
  /** In topological order: nodes whose outputs have a meaning, and those that compute shapes of inner values. */
  readonly nodes: readonly Node[];
  /** Affine values by name, the input included. */
  readonly meanings: ReadonlyMap<string, Affine>;
  /** Values that `nodes` make. */
  readonly inner: ReadonlySet<string>;
  readonly refusals: readonly RuleRefusal[];
}

/**
 * Nodes with an affine meaning walked from one value. Nonlinear operators end a cone after some ten nodes in real
 * networks; the limit keeps a purely linear graph of any length linear in time.
 */
const MAX_CONE_NODES = 128;

/** Nodes over shapes and indices walked from one value: an exported border takes a hundred per face. */
const MAX_SHAPE_NODES = 4096;

/** What a value that is no affine value is known to be. */
type Shadow = Bordered | Symbolic;

interface Walk {
  readonly interpreter: Interpreter;
  readonly root: Root;
  readonly meanings: Map<string, Affine>;
  readonly shadows: Map<string, Shadow>;
  /** Constants that follow from shapes inside this cone. */
  readonly constants: Map<string, Constant>;
}

type Outcome =
  | { readonly affine: readonly Affine[] }
  | { readonly shadow: Shadow }
  | { readonly constant: Constant }
  | { readonly refused: string }
  | undefined;

/** The affine cone of `input`. */
export async function interpretCone(
  interpreter: Interpreter,
  input: string,
  root: Root,
): Promise<Cone> {
  const { index, graph } = interpreter;
  const start = inputAffine(root.channels, root.spatialRank, root.sizes);
  const walk: Walk = {
    interpreter,
    root,
    meanings: new Map([[input, start]]),
    shadows: new Map(),
    constants: new Map(),
  };
  const nodes: Node[] = [];
  const inner = new Set<string>();
  const refusals: RuleRefusal[] = [];
  const queue = createNodeQueue();
  const enqueue = (value: string): void => {
    for (const use of index.uses(value)) queue.push(index.position(use));
  };
  enqueue(input);
  let [affineNodes, shapeNodes] = [0, 0];
  while (affineNodes < MAX_CONE_NODES && shapeNodes < MAX_SHAPE_NODES) {
    // Topological order: a node is looked at after all nodes before it, so its operands are final.
    const position = queue.pop();
    if (position === undefined) break;
    const node = graph.nodes[position]!;
    const outcome = await interpretNode(walk, node);
    if (!outcome) continue;
    if ("refused" in outcome) {
      refusals.push({ node, reason: outcome.refused });
      continue;
    }
    const isAffine = "affine" in outcome;
    record(walk, node, outcome);
    if (isAffine) affineNodes++;
    else shapeNodes++;
    // Shapes of the input itself survive fusing, so what only reads those stays outside.
    if (
      isAffine ||
      ("shadow" in outcome && outcome.shadow.kind === "bordered") ||
      readsInner(node, inner)
    ) {
      nodes.push(node);
      for (const output of node.outputs) if (output !== "") inner.add(output);
    }
    for (const output of node.outputs) enqueue(output);
  }
  return { input, nodes, meanings: walk.meanings, inner, refusals };
}

function readsInner(node: Node, inner: ReadonlySet<string>): boolean {
  return node.inputs.some((input) => inner.has(input));
}

function record(walk: Walk, node: Node, outcome: Exclude<Outcome, undefined>): void {
  if ("affine" in outcome) {
    for (const [i, output] of node.outputs.entries()) {
      const meaning = outcome.affine[i];
      if (output !== "" && meaning) walk.meanings.set(output, meaning);
    }
    return;
  }
  const output = node.outputs[0]!;
  if ("shadow" in outcome) walk.shadows.set(output, outcome.shadow);
  else if ("constant" in outcome) walk.constants.set(output, outcome.constant);
}

/** Undefined when the node has no rule or reads something that does not come from the cone's input. */
async function interpretNode(walk: Walk, node: Node): Promise<Outcome> {
  const { interpreter, meanings, shadows, root } = walk;
  const constant = (name: string): Constant | undefined =>
    interpreter.constants.get(name) ?? walk.constants.get(name);
  let [hasAffine, border]: [boolean, Bordered | undefined] = [false, undefined];
  let hasSymbolic = false;
  for (const input of node.inputs) {
    if (input === "" || constant(input)) continue;
    const shadow = shadows.get(input);
    if (shadow?.kind === "bordered") border = shadow;
    else if (shadow) hasSymbolic = true;
    else if (meanings.has(input)) hasAffine = true;
    else return undefined;
  }
  if (hasAffine && !border && !hasSymbolic) return affineOutcome(walk, node, constant);
  if (border) return borderOutcome(walk, node, border, constant);
  if (hasAffine) return undefined;
  if (!hasSymbolic) {
    const folded = await foldNode(node, interpreter.opset, constant);
    return folded && { constant: folded };
  }
  if (node.outputs.length !== 1) return undefined;
  const inputs = node.inputs.map((input) => constant(input) ?? symbolicOf(shadows.get(input)));
  return symbolicOutcome(node, await symbolicResult({ node, inputs }));

  function symbolicOf(shadow: Shadow | undefined): Symbolic | undefined {
    return shadow?.kind === "bordered" ? undefined : shadow;
  }

  async function affineOutcome(
    { interpreter: { opset } }: Walk,
    reader: Node,
    lookup: (name: string) => Constant | undefined,
  ): Promise<Outcome> {
    if (isOp(reader, "Shape")) {
      return shapeOutcome(reader, extentsOf(meanings.get(reader.inputs[0]!)!, batchOf(root)));
    }
    const rule = ruleOf(reader);
    if (!rule) return undefined;
    const result = await rule({
      node: reader,
      opset: reader.domain === RECIPE_DOMAIN ? 1 : opset,
      dtype: root.dtype,
      operand: (i) => meanings.get(reader.inputs[i] ?? ""),
      constant: (i) => lookup(reader.inputs[i] ?? ""),
    });
    if ("refused" in result) return result;
    return "kind" in result ? { shadow: result } : { affine: result };
  }
}

function batchOf(root: Root): Batch {
  return { batch: root.batch };
}

function shapeOutcome(node: Node, extents: readonly (number | string)[]): Promise<Outcome> {
  return symbolicResult({ node, inputs: [{ kind: "shaped", shape: extents }] }).then((result) =>
    symbolicOutcome(node, result),
  );
}

function symbolicOutcome(node: Node, result: Symbolic | undefined): Outcome {
  if (!result) return undefined;
  const known =
    result.kind === "sizes"
      ? constantSizes(node.outputs[0]!, sizes(result.entries, result.scalar))
      : undefined;
  return known ? { constant: known } : { shadow: result };
}

/** A padded value with a foreign border: its shape may be asked for, and its border written. */
async function borderOutcome(
  { root, shadows }: Walk,
  node: Node,
  data: Bordered,
  constant: (name: string) => Constant | undefined,
): Promise<Outcome> {
  if (shadows.get(node.inputs[0]!) !== data) return { refused: data.reason };
  const extents = extentsOf(data.whole, batchOf(root));
  if (isOp(node, "Shape")) return shapeOutcome(node, extents);
  if (isOp(node, "Slice")) {
    // Exporters slice only to ask for the slice's shape.
    const inputs = [
      { kind: "shaped", shape: extents } as const,
      ...node.inputs.slice(1).map((input) => constant(input)),
    ];
    const shaped = await symbolicResult({ node, inputs });
    return shaped ? { shadow: shaped } : { refused: data.reason };
  }
  if (!isOp(node, "ScatterND")) {
    return ruleOf(node) ? { refused: `${nodeLabel(data.node)}: ${data.reason}` } : undefined;
  }
  const operand = (i: number): Constant | Symbolic | undefined => {
    const shadow = shadows.get(node.inputs[i] ?? "");
    return constant(node.inputs[i] ?? "") ?? (shadow?.kind === "bordered" ? undefined : shadow);
  };
  const written = await writeBorder(
    { node, data, indices: operand(1), updates: operand(2) },
    batchOf(root),
  );
  if (isRefused(written)) return written;
  return "kind" in written ? { shadow: written } : { affine: [written] };
}

/**
 * The meaning of `output` relative to `input` in a graph that is known to be one affine region, e.g. a block built
 * from a family row. Throws `refused` with the node and the reason when it is not.
 */
export async function interpretRegion(
  graph: Graph,
  input: string,
  output: string,
  where: string,
  opset = 17,
): Promise<Affine> {
  const interpreter = await createInterpreter(graph, opset);
  const root = rootOf(interpreter, input);
  if (!root) {
    throw new ReparamError("refused", {
      where,
      what: "no convolution reads the block's input, so its channel count is unknown",
    });
  }
  const cone = await interpretCone(interpreter, input, root);
  const meaning = cone.meanings.get(output);
  if (meaning) return meaning;
  const refusal = cone.refusals[0];
  throw new ReparamError("refused", {
    where,
    what: refusal
      ? `${nodeLabel(refusal.node)} (${refusal.node.opType}) cannot be fused exactly: ${refusal.reason}`
      : `${output} is not an affine function of ${input}`,
  });
}
