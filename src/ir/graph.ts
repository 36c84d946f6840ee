/**
 * @file The graph: plain immutable data in ONNX words, without protobuf.
 * An edge is a *value*, known by its name; a graph is edited by making a new one (`ir/edit.ts`).
 */

import type { DType } from "../core/dtype.ts";
import type { LazyTensor } from "../core/tensor.ts";

/** A dimension: known, symbolic (`"batch"`), or unknown. */
export type Dim = number | string | undefined;

/** The declared type of a graph input, output or inner value. */
export interface ValueInfo {
  readonly name: string;
  /** Undefined for a value that is not a tensor (sequence, optional, map). */
  readonly dtype: DType | "string" | undefined;
  /** Undefined when even the rank is unknown. */
  readonly shape: readonly Dim[] | undefined;
  /** The file's own TypeProto bytes where `dtype`/`shape` cannot express it; written back untouched. */
  readonly rawType?: Uint8Array;
  /** Fields of the file we keep but do not interpret, in wire bytes. */
  readonly extra?: readonly Uint8Array[];
}

export type Attribute = AttributeValue & {
  /** For people; without effect. */
  readonly docString?: string;
};

type AttributeValue =
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "int"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "floats"; readonly value: readonly number[] }
  | { readonly type: "ints"; readonly value: readonly number[] }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "tensor"; readonly value: LazyTensor }
  | { readonly type: "graph"; readonly value: Graph }
  /** Anything else (int64 beyond 2^53, sparse tensors, type protos, references …): the AttributeProto's own bytes, written back untouched. */
  | { readonly type: "raw"; readonly value: Uint8Array };

export interface Node {
  readonly opType: string;
  /** `""` is the ONNX standard domain. */
  readonly domain: string;
  /** May be empty; unique names are not required by ONNX. */
  readonly name: string;
  /** Value names; `""` is an omitted optional input. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly docString?: string;
  /** Fields of the file we keep but do not interpret (metadata, overload, …), in wire bytes. */
  readonly extra?: readonly Uint8Array[];
}

/** An initializer that is no dense tensor of a `DType` (strings, 4-bit types, sparse); its elements cannot be read here. */
export interface OpaqueInitializer {
  readonly name: string;
  /** The whole field of the file's graph message, written back untouched. */
  readonly bytes: Uint8Array;
}

export interface Graph {
  readonly name: string;
  /** As in the file; since IR version 4 initializers need not be listed here. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Topologically sorted. */
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  /** Values that are constant but not readable; absent when there are none. */
  readonly opaqueInitializers?: readonly OpaqueInitializer[];
  /** Declared types of inner values, by name. */
  readonly valueInfos: ReadonlyMap<string, ValueInfo>;
  readonly docString?: string;
  /** Fields of the file we keep but do not interpret (quantization annotations, metadata, …), in wire bytes. */
  readonly extra?: readonly Uint8Array[];
}

export interface Model {
  readonly irVersion: number;
  /** Domain to version; `""` is the ONNX standard domain. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly graph: Graph;
  readonly metadata: ReadonlyMap<string, string>;
  /** Fields of the file we keep but do not interpret (model-local functions, training info, version, …), in wire bytes. */
  readonly extra?: readonly Uint8Array[];
}

/** The name a message uses for a node: its own, else its first output's. */
export function nodeLabel(node: Node): string {
  return node.name || `${node.opType}(${node.outputs[0] ?? ""})`;
}

export function isOp(node: Node, opType: string): boolean {
  return node.opType === opType && (node.domain === "" || node.domain === "ai.onnx");
}

/** Real inputs: those that are not initializers. */
export function graphInputs(graph: Graph): ValueInfo[] {
  return graph.inputs.filter((input) => !graph.initializers.has(input.name));
}

export function intAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "int" ? attribute.value : fallback;
}

export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "float" ? attribute.value : fallback;
}

export function stringAttribute(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes.get(name);
  return attribute?.type === "string" ? attribute.value : fallback;
}

export function intsAttribute(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.type === "ints" ? attribute.value : undefined;
}
