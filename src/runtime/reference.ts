/**
 * @file The float64 reference of a model, ready to be run many times, also with every parameter and input moved by
 * about one rounding. The parameters are inputs of one session: a perturbed run costs a run, not a new session.
 */

import { bytesOf, decodeFloat64, isFloatDType } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, formatShape, type Shape, type Tensor, tensor } from "../core/tensor.ts";
import { graphInputs, type Model, type ValueInfo } from "../ir/graph.ts";
import { lowerWithParameters } from "./lower-float64.ts";
import type { Parameter } from "./lowering/context.ts";
import {
  fillParameter,
  type Perturbation,
  parameterTensor,
  perturbInput,
  readElements,
} from "./parameter-data.ts";
import { perturbableParameters } from "./perturb.ts";
import type { Runtime } from "./session.ts";
import { tapValues } from "./tap.ts";

export interface ReferenceValue {
  readonly shape: Shape;
  readonly data: Float64Array;
}

export interface ReferenceOptions {
  /** Inner values to return beside the outputs. */
  readonly taps?: readonly string[];
  readonly threads?: number;
}

export interface Reference {
  /** Outputs of the model, then the taps. */
  readonly outputNames: readonly string[];
  /**
   * Outputs and taps for `inputs`, in float64. A `Float64Array` takes the shape the reference was made for; tensors of
   * any float type are cast up. With `perturbation`, every parameter and every float input is moved.
   * Concurrent calls wait for each other.
   */
  run(
    inputs: ReadonlyMap<string, Float64Array | Tensor>,
    perturbation?: Perturbation,
    options?: TaskOptions,
  ): Promise<Map<string, ReferenceValue>>;
  release(): Promise<void>;
}

interface Loaded {
  readonly parameter: Parameter;
  readonly elements: Float32Array | Float64Array;
  /** What the session is given: rewritten by every run that moves the parameters. */
  readonly laidOut: Float64Array;
}

/**
 * Lowers `model` to float64 and makes a session of it.
 * Throws what `lowerToFloat64` throws, and `usage` for an unknown tap.
 */
export async function createReference(
  model: Model,
  runtime: Runtime,
  inputShapes: ReadonlyMap<string, Shape>,
  { taps = [], threads }: ReferenceOptions = {},
): Promise<Reference> {
  const lowered = await lowerWithParameters(model, runtime, inputShapes);
  const movable = perturbableParameters(model);
  const initializers = new Map(lowered.model.graph.initializers);
  const loaded = new Map<string, Loaded>();
  const parameterInputs: ValueInfo[] = [];
  for (const [name, parameter] of lowered.parameters) {
    const { shape } = parameter.layout;
    if (!movable.has(parameter.source)) {
      initializers.set(name, parameterTensor(parameter));
      continue;
    }
    const elements = await readElements(parameter.value);
    const laidOut = new Float64Array(elementCount(shape));
    fillParameter(laidOut, elements, parameter);
    loaded.set(name, { parameter, elements, laidOut });
    parameterInputs.push({ name, dtype: "float64", shape });
  }
  const { graph } = lowered.model;
  const withInputs = tapValues(
    {
      ...lowered.model,
      graph: { ...graph, initializers, inputs: [...graph.inputs, ...parameterInputs] },
    },
    taps,
  );
  const session = await runtime.createSession(withInputs, threads === undefined ? {} : { threads });
  const infos = graphInputs(model.graph);
  let moved: Perturbation | undefined;
  const place = (perturbation: Perturbation | undefined): void => {
    const same = (["seed", "unit", "floor"] as const).every(
      (k) => moved?.[k] === perturbation?.[k],
    );
    if (same) return;
    for (const { parameter, elements, laidOut } of loaded.values()) {
      fillParameter(laidOut, elements, parameter, 0, perturbation);
    }
    moved = perturbation;
  };
  const runOnce: Reference["run"] = async (inputs, perturbation, options) => {
    const feeds = new Map<string, Tensor>();
    for (const info of infos) {
      const given = inputs.get(info.name);
      if (!given) throw inputError(info.name, "no value was given");
      feeds.set(info.name, raise(info, given, inputShapes.get(info.name), perturbation));
    }
    for (const name of inputs.keys()) {
      if (!feeds.has(name)) throw inputError(name, "the model has no such input");
    }
    place(perturbation);
    for (const [name, { parameter, laidOut }] of loaded) {
      feeds.set(name, { dtype: "float64", shape: parameter.layout.shape, bytes: bytesOf(laidOut) });
    }
    const results = await session.run(feeds, options);
    const values = new Map<string, ReferenceValue>();
    for (const [name, { dtype, shape, bytes }] of results) {
      values.set(name, { shape, data: decodeFloat64(bytes, dtype) });
    }
    return values;
  };
  let last: Promise<unknown> = Promise.resolve();
  return {
    outputNames: session.outputNames,
    run: (inputs, perturbation, options) => {
      // The laid-out parameters are shared by all runs: one at a time.
      const result = last.then(() => runOnce(inputs, perturbation, options));
      last = result.catch(() => undefined);
      return result;
    },
    release: async () => {
      await last;
      await session.release();
      loaded.clear();
    },
  };
}

/** An input in float64 (integers stay), moved if asked for. */
function raise(
  info: ValueInfo,
  given: Float64Array | Tensor,
  shape: Shape | undefined,
  perturbation: Perturbation | undefined,
): Tensor {
  const { name } = info;
  if (given instanceof Float64Array) {
    const full = shape ?? (info.shape as Shape);
    if (given.length !== elementCount(full)) {
      throw inputError(name, `${given.length} numbers for shape ${formatShape(full)}`);
    }
    const data = perturbation ? perturbInput(given, name, perturbation) : given;
    return tensor("float64", full, data);
  }
  if (!isFloatDType(given.dtype)) return given;
  const raised = decodeFloat64(given.bytes, given.dtype);
  const data = perturbation ? perturbInput(raised, name, perturbation) : raised;
  return tensor("float64", given.shape, data);
}

function inputError(name: string, what: string): ReparamError {
  return new ReparamError("usage", { where: `input ${JSON.stringify(name)}`, what });
}
