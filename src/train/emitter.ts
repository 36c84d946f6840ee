/**
 * @file Adds nodes to a graph whose shapes are all known, and gives the same value twice for the same computation.
 * The gradient rules are written against this.
 */

import type { DType, FloatDType } from "../core/dtype.ts";
import { encodeFloat64 } from "../core/dtype.ts";
import { internalError } from "../core/errors.ts";
import { int64Tensor, type LazyTensor, lazyTensor, type Shape } from "../core/tensor.ts";
import { type AttributeInputs, createGraphBuilder, type GraphBuilder } from "../ir/builder.ts";

/** The lowest opset of a training graph; models of opset 13 and later mean the same in it. */
export const TRAINING_OPSET = 17;

export interface NodeOptions {
  /** Name of the first output; made unique if taken. */
  readonly name?: string;
  readonly domain?: string;
}

export interface Emitter {
  /** The dtype of parameters and activations: float32, or float64 where the rules are checked. */
  readonly dtype: FloatDType;
  readonly opset: number;
  /** Channels per block of the runtime's blocked convolution (`blocked-conv.ts`); undefined where it has none. */
  readonly channelBlock: number | undefined;
  shape(value: string): Shape;
  /** Declares the shape of a value that was not made by `node`. */
  declare(value: string, shape: Shape): void;
  /** One node with one output of the given shape. The same call gives the same value. */
  node(
    opType: string,
    inputs: readonly string[],
    shape: Shape,
    attributes?: AttributeInputs,
    options?: NodeOptions,
  ): string;
  /** One node with several outputs. */
  nodes(
    opType: string,
    inputs: readonly string[],
    shapes: readonly Shape[],
    attributes?: AttributeInputs,
    options?: NodeOptions,
  ): string[];
  input(name: string, dtype: DType, shape: Shape): string;
  constant(name: string, value: LazyTensor): string;
  /** A rank-0 constant of `dtype`. */
  scalar(value: number): string;
  /** Constants of `dtype`. */
  floats(shape: Shape, values: Float64Array): string;
  /** An int64 constant; a vector unless another shape is given. */
  ints(values: readonly number[], shape?: Shape): string;
  output(value: string, dtype: DType): void;
  readonly builder: GraphBuilder;
}

export interface EmitterOptions {
  readonly dtype: FloatDType;
  readonly name: string;
  readonly opset?: number;
  readonly domains?: ReadonlyMap<string, number>;
  readonly channelBlock?: number | undefined;
}

export function createEmitter(options: EmitterOptions): Emitter {
  const { dtype, name, opset = TRAINING_OPSET, domains = new Map() } = options;
  const builder = createGraphBuilder({ opset, name, domains });
  const shapes = new Map<string, Shape>();
  const made = new Map<string, string[]>();

  const declare = (value: string, shape: Shape): void => {
    shapes.set(value, shape);
  };
  const once = (key: string, make: () => string[]): string[] => {
    const known = made.get(key);
    if (known) return known;
    const values = make();
    made.set(key, values);
    return values;
  };
  const constant = (label: string, value: LazyTensor): string => {
    const taken = builder.initializer(label, value);
    declare(taken, value.shape);
    return taken;
  };
  const floats = (shape: Shape, values: Float64Array): string =>
    constant("constant", lazyTensor({ dtype, shape, bytes: encodeFloat64(values, dtype) }));

  const nodes: Emitter["nodes"] = (opType, inputs, outShapes, attributes = {}, extra = {}) => {
    const domain = extra.domain ?? "";
    const key = `${domain}:${opType}(${inputs.join()})${keyOf(attributes)}`;
    return once(key, () => {
      const values = builder.nodeWithOutputs(
        opType,
        inputs,
        outShapes.length,
        attributes,
        extra.name,
        domain,
      );
      for (const [i, value] of values.entries()) declare(value, outShapes[i]!);
      return values;
    });
  };

  return {
    dtype,
    opset,
    channelBlock: options.channelBlock,
    builder,
    declare,
    constant,
    floats,
    nodes,
    shape: (value) => {
      const shape = shapes.get(value);
      if (!shape) throw internalError("training graph", `the shape of ${value} is not known`);
      return shape;
    },
    node: (opType, inputs, shape, attributes, extra) =>
      nodes(opType, inputs, [shape], attributes, extra)[0]!,
    input: (label, inputDType, shape) => {
      const taken = builder.input(label, inputDType, shape);
      declare(taken, shape);
      return taken;
    },
    scalar: (value) => once(`scalar ${value}`, () => [floats([], Float64Array.of(value))])[0]!,
    ints: (values, shape = [values.length]) =>
      once(`ints ${values.join()} [${shape.join()}]`, () => [
        constant("ints", lazyTensor(int64Tensor(shape, values))),
      ])[0]!,
    output: (value, outputDType) => {
      builder.output(value, outputDType, shapes.get(value));
    },
  };
}

/** Attributes as a key; tensors and graphs are not plain data and make a node that is never shared. */
let unshared = 0;
function keyOf(attributes: AttributeInputs): string {
  const entries = Object.entries(attributes);
  const plain = entries.every(
    ([, value]) =>
      typeof value !== "object" ||
      Array.isArray(value) ||
      "float" in value ||
      "floats" in value ||
      ("type" in value &&
        value.type !== "tensor" &&
        value.type !== "graph" &&
        value.type !== "raw"),
  );
  return plain ? JSON.stringify(entries) : `#${unshared++}`;
}
