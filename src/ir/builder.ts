/** @file Builds a graph step by step: values are names, attributes are plain JavaScript. */

import type { DType } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { LazyTensor } from "../core/tensor.ts";
import type { Attribute, Dim, Graph, Model, Node, ValueInfo } from "./graph.ts";
import { createNameScope } from "./names.ts";

/**
 * An attribute as plain data. Integers become `int`/`ints` (an empty array is `ints`); a float is always written
 * `{ float: 0.1 }`, because `1` and `1.0` are the same number in JavaScript and different types in ONNX.
 */
export type AttributeInput =
  | number
  | readonly number[]
  | string
  | readonly string[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | LazyTensor
  | Graph
  | Attribute;

export type AttributeInputs = Readonly<Record<string, AttributeInput>>;

export interface GraphBuilder {
  /** Declares a graph input and returns its name. */
  input(name: string, dtype: DType, shape: readonly Dim[] | undefined): string;
  /** Adds a constant under a name (made unique if taken) and returns that name. */
  initializer(name: string, value: LazyTensor): string;
  /**
   * Adds a node with one output and returns the output's name, which is `name` (made unique if taken).
   * An omitted optional input is `""`.
   */
  node(
    opType: string,
    inputs: readonly string[],
    attributes?: AttributeInputs,
    name?: string,
    domain?: string,
  ): string;
  /** Like `node`, with `count` outputs: `name`, `name_1`, … */
  nodeWithOutputs(
    opType: string,
    inputs: readonly string[],
    count: number,
    attributes?: AttributeInputs,
    name?: string,
    domain?: string,
  ): string[];
  /** Declares the type of an inner value. */
  valueInfo(name: string, dtype: DType, shape: readonly Dim[] | undefined): void;
  /** Makes a value a graph output. */
  output(name: string, dtype: DType, shape: readonly Dim[] | undefined): void;
  /** The graph alone, e.g. as the body of an `If`. */
  buildGraph(): Graph;
  build(): Model;
}

export interface GraphBuilderOptions {
  /** Version of the ONNX standard domain. Default 17. */
  readonly opset?: number;
  /** The graph's name. Default `"graph"`. */
  readonly name?: string;
  /** Default: the first IR version that came with the opset, but at least 4 (initializers need not be inputs). */
  readonly irVersion?: number;
  /** Other operator domains and their versions. */
  readonly domains?: ReadonlyMap<string, number>;
  readonly metadata?: ReadonlyMap<string, string>;
}

export function createGraphBuilder(options: GraphBuilderOptions = {}): GraphBuilder {
  const { opset = 17, name: graphName = "graph", irVersion = irVersionOf(opset) } = options;
  const names = createNameScope();
  const inputs: ValueInfo[] = [];
  const outputs: ValueInfo[] = [];
  const nodes: Node[] = [];
  const initializers = new Map<string, LazyTensor>();
  const valueInfos = new Map<string, ValueInfo>();

  const nodeWithOutputs: GraphBuilder["nodeWithOutputs"] = (
    opType,
    nodeInputs,
    count,
    attributes = {},
    name = `${opType}_${nodes.length}`,
    domain = "",
  ) => {
    const made = Array.from({ length: count }, (_, i) => names.fresh(i ? `${name}_${i}` : name));
    const map = new Map<string, Attribute>();
    for (const [key, value] of Object.entries(attributes)) {
      map.set(key, toAttribute(`${opType}.${key}`, value));
    }
    nodes.push({
      opType,
      domain,
      name: made[0] ?? name,
      inputs: [...nodeInputs],
      outputs: made,
      attributes: map,
    });
    return made;
  };

  const buildGraph = (): Graph => ({
    name: graphName,
    inputs: [...inputs],
    outputs: [...outputs],
    nodes: [...nodes],
    initializers: new Map(initializers),
    valueInfos: new Map(valueInfos),
  });

  return {
    input: (name, dtype, shape) => {
      const taken = names.fresh(name);
      inputs.push({ name: taken, dtype, shape });
      return taken;
    },
    initializer: (name, value) => {
      const taken = names.fresh(name);
      initializers.set(taken, value);
      return taken;
    },
    nodeWithOutputs,
    node: (opType, nodeInputs, attributes, name, domain) =>
      nodeWithOutputs(opType, nodeInputs, 1, attributes, name, domain)[0]!,
    valueInfo: (name, dtype, shape) => {
      valueInfos.set(name, { name, dtype, shape });
    },
    output: (name, dtype, shape) => {
      outputs.push({ name, dtype, shape });
    },
    buildGraph,
    build: () => ({
      irVersion,
      opsets: new Map([["", opset], ...(options.domains ?? [])]),
      producerName: "reparam",
      producerVersion: "",
      graph: buildGraph(),
      metadata: options.metadata ?? new Map(),
    }),
  };
}

/** One attribute from plain data; see `AttributeInput`. Throws `usage` for a bare non-integer. */
export function toAttribute(where: string, input: AttributeInput): Attribute {
  if (typeof input === "number") return { type: "int", value: integer(where, input) };
  if (typeof input === "string") return { type: "string", value: input };
  if (isArray(input)) {
    if (input.every((item) => typeof item === "string") && input.length > 0) {
      return { type: "strings", value: [...input] as string[] };
    }
    return { type: "ints", value: input.map((item) => integer(where, item)) };
  }
  if ("type" in input) return input;
  if ("float" in input) return { type: "float", value: input.float };
  if ("floats" in input) return { type: "floats", value: [...input.floats] };
  if ("read" in input) return { type: "tensor", value: input };
  return { type: "graph", value: input };
}

function isArray(
  input: AttributeInput,
): input is Extract<AttributeInput, readonly (number | string)[]> {
  return Array.isArray(input);
}

function integer(where: string, value: number | string): number {
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw new ReparamError("usage", {
    where,
    what: `attribute value ${value} is not an integer`,
    fix: "Write floats as { float: value } or { floats: [...] }",
  });
}

/** The IR version each opset was released with (ONNX's versioning table); at least 4. */
function irVersionOf(opset: number): number {
  if (opset >= 21) return 10;
  if (opset >= 19) return 9;
  if (opset >= 15) return 8;
  if (opset >= 12) return 7;
  return Math.max(4, opset - 5);
}
