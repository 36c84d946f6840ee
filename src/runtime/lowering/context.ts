/** @file What a lowering rule works with: the values it reads, and a graph under construction in float64. */

import { isFloatDType } from "../../core/dtype.ts";
import { internalError, ReparamError } from "../../core/errors.ts";
import {
  elementCount,
  formatShape,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type Shape,
  tensor,
} from "../../core/tensor.ts";
import { type AttributeInputs, toAttribute } from "../../ir/builder.ts";
import { type Attribute, type Node, nodeLabel } from "../../ir/graph.ts";
import type { NameScope } from "../../ir/names.ts";
import { type Layout, layoutKey } from "./layout.ts";

/** A float constant of the model as the lowered graph uses it. */
export interface Parameter {
  /** Its name in the model. */
  readonly source: string;
  /** Its elements in the model's own order and dtype. */
  readonly value: LazyTensor;
  readonly layout: Layout;
}

/** What a run of the model told about its values. */
export interface Observation {
  readonly shapes: ReadonlyMap<string, Shape>;
  /** Values of small inner tensors (scales, sizes) that rules asked for. */
  readonly values: ReadonlyMap<string, Float64Array>;
}

export class LoweringContext {
  readonly nodes: Node[] = [];
  /** Constants that the rules made. */
  readonly constants: Map<string, LazyTensor> = new Map();
  /** By name in the lowered graph. */
  readonly parameters: Map<string, Parameter> = new Map();
  readonly opset: number;
  readonly sourceOpset: number;
  /** Initializers and `Constant` nodes of the model, in their own dtype. */
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  readonly #names: NameScope;
  readonly #observed: Observation;
  readonly #floats = new Set<string>();
  readonly #shared = new Map<string, string>();

  constructor(parts: {
    readonly opset: number;
    readonly sourceOpset: number;
    readonly initializers: ReadonlyMap<string, LazyTensor>;
    readonly names: NameScope;
    readonly observed: Observation;
  }) {
    this.opset = parts.opset;
    this.sourceOpset = parts.sourceOpset;
    this.initializers = parts.initializers;
    this.#names = parts.names;
    this.#observed = parts.observed;
    for (const [name, value] of parts.initializers) {
      if (isFloatDType(value.dtype)) this.#floats.add(name);
    }
  }

  isFloat(value: string): boolean {
    return this.#floats.has(value);
  }

  markFloat(value: string): void {
    this.#floats.add(value);
  }

  /** The shape of a value of the model that is an initializer or that the rule asked to observe. */
  shapeOf(value: string): Shape {
    const shape = this.initializers.get(value)?.shape ?? this.#observed.shapes.get(value);
    if (shape) return shape;
    throw internalError(`lowering of ${value}`, "its shape was not observed");
  }

  /** Elements of a constant, or of a small value that the rule asked to observe. */
  async valuesOf(value: string): Promise<Float64Array> {
    const constant = this.initializers.get(value);
    if (constant) return await readFloat64(constant);
    const observed = this.#observed.values.get(value);
    if (observed) return observed;
    throw internalError(`lowering of ${value}`, "its elements were not observed");
  }

  /** Adds a node and returns its output, which is `output` or a fresh name. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes: AttributeInputs = {},
    output: string = this.#names.fresh(`float64/${opType}`),
  ): string {
    const map = new Map<string, Attribute>();
    for (const [key, value] of Object.entries(attributes)) map.set(key, toAttribute(key, value));
    this.nodes.push({ opType, domain: "", name: "", inputs, outputs: [output], attributes: map });
    return output;
  }

  /** A float64 constant; equal small ones are shared. */
  floats(values: ArrayLike<number>, shape: Shape = [values.length]): string {
    return this.#share(`f${formatShape(shape)}`, values, () =>
      tensor("float64", shape, Float64Array.from(values)),
    );
  }

  scalar(value: number): string {
    return this.floats([value], []);
  }

  /** An int64 vector; equal ones are shared. */
  ints(values: readonly number[]): string {
    return this.#share("i", values, () => int64Tensor([values.length], values));
  }

  #share(
    kind: string,
    values: ArrayLike<number>,
    make: () => ReturnType<typeof int64Tensor>,
  ): string {
    // -0 and 0 print alike but differ as factors; no rule here makes a -0.
    const key = values.length <= 64 ? `${kind}:${Array.from(values).join(",")}` : undefined;
    const known = key === undefined ? undefined : this.#shared.get(key);
    if (known !== undefined) return known;
    const name = this.#names.fresh("float64/constant");
    this.constants.set(name, lazyTensor(make()));
    if (key !== undefined) this.#shared.set(key, name);
    return name;
  }

  /**
   * A value in another layout. Parameters are laid out when they are read; anything else by nodes.
   * `layout.shape` and the blocks must cover the value's elements.
   */
  laidOut(value: string, layout: Layout): string {
    const constant = this.initializers.get(value);
    if (constant) {
      const key = `p:${value}:${layoutKey(layout)}`;
      const known = this.#shared.get(key);
      if (known !== undefined) return known;
      const name = this.#names.fresh(`${value}/${layoutKey(layout)}`);
      this.parameters.set(name, { source: value, value: constant, layout });
      this.#shared.set(key, name);
      return name;
    }
    if (elementCount(layout.block) === 1) return this.reshape(value, layout.shape);
    const blocks = this.reshape(value, [-1, ...layout.block]);
    const turned = this.emit("Transpose", [blocks], {
      perm: [0, ...layout.order.map((axis) => axis + 1)],
    });
    return this.reshape(turned, layout.shape);
  }

  /** At most one entry may be -1. */
  reshape(value: string, shape: Shape, output?: string): string {
    return this.emit("Reshape", [value, this.ints([...shape])], {}, output);
  }

  /** Elements `start, start + step, …` (`count` of them) of each axis. */
  slice(
    value: string,
    axes: readonly number[],
    start: readonly number[],
    count: readonly number[],
    step: readonly number[],
  ): string {
    const end = start.map((first, i) => first + (count[i]! - 1) * step[i]! + 1);
    return this.emit("Slice", [
      value,
      this.ints(start),
      this.ints(end),
      this.ints(axes),
      this.ints(step),
    ]);
  }

  /** Zeros around the axes from `firstAxis` on; negative numbers crop. */
  pad(value: string, firstAxis: number, begin: readonly number[], end: readonly number[]): string {
    let padded = value;
    if ([...begin, ...end].some((n) => n > 0)) {
      const none = Array.from({ length: firstAxis }, () => 0);
      const grow = (pads: readonly number[]): number[] => [
        ...none,
        ...pads.map((n) => Math.max(n, 0)),
      ];
      padded = this.emit("Pad", [padded, this.ints([...grow(begin), ...grow(end)])]);
    }
    if ([...begin, ...end].every((n) => n >= 0)) return padded;
    const axes = begin.map((_, i) => firstAxis + i);
    return this.emit("Slice", [
      padded,
      this.ints(begin.map((n) => Math.max(-n, 0))),
      // "To the end" is written as the largest count no axis reaches.
      this.ints(end.map((n) => (n < 0 ? n : 2 ** 31 - 1))),
      this.ints(axes),
    ]);
  }

  /** Sum over axes, kept with length 1. */
  sum(value: string, axes: readonly number[]): string {
    return this.emit("ReduceSum", [value, this.ints(axes)], { keepdims: 1 });
  }

  refuse(node: Node, what: string): ReparamError {
    return refusal(node, what);
  }
}

/** `refused`: a node that has no float64 form here. */
export function refusal(node: Node, what: string): ReparamError {
  return new ReparamError("refused", {
    where: `${node.opType} ${JSON.stringify(nodeLabel(node))}`,
    what: `no float64 reference: ${what}`,
    fix: "The weights can still be compared without one: --weights-only",
  });
}
