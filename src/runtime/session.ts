/**
 * @file One face for onnxruntime in Node and in browsers: the ORT module is passed in, tensors are ours.
 * Sessions run the graph as written: optimization is off unless asked for.
 */

import type * as Ort from "onnxruntime-common";
import { bytesOf, DTYPE_BYTES, type DType } from "../core/dtype.ts";
import { badData, ReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Tensor } from "../core/tensor.ts";
import { modelToBytes } from "../formats/onnx/write-model.ts";
import type { Model } from "../ir/graph.ts";

export interface SessionOptions {
  /** `disabled` (default) runs every node as written; `all` lets the runtime fuse. */
  readonly optimization?: "disabled" | "all";
  /** Threads within one operator; the runtime's own choice by default. */
  readonly threads?: number;
  /** The runtime's backends in order of preference, e.g. `["webgpu", "cpu"]`. Default `["cpu"]`. */
  readonly providers?: readonly string[];
}

export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Runs the graph once; every input of `inputNames` is needed.
   * Throws `usage` (missing or unknown input), `refused` (what the runtime says), `aborted`.
   */
  run(inputs: ReadonlyMap<string, Tensor>, options?: TaskOptions): Promise<Map<string, Tensor>>;
  release(): Promise<void>;
}

export interface Runtime {
  /** For reports, e.g. `onnxruntime-node 1.30.0`. */
  readonly name: string;
  /** Throws `refused` with the runtime's words when it cannot run the model. */
  createSession(model: Model | Uint8Array, options?: SessionOptions): Promise<Session>;
}

/** What we use of an ORT module: onnxruntime-node and onnxruntime-web both have it. */
export type OrtModule = Pick<typeof Ort, "InferenceSession" | "Tensor">;

export function createRuntime(ort: OrtModule, name: string): Runtime {
  return {
    name,
    createSession: async (
      model,
      { optimization = "disabled", threads, providers = ["cpu"] } = {},
    ) => {
      const bytes = model instanceof Uint8Array ? model : await modelToBytes(model);
      const session = await ort.InferenceSession.create(bytes, {
        graphOptimizationLevel: optimization,
        executionProviders: [...providers],
        // Nothing: what goes wrong is thrown in the same words, and the runtime writes to the user's terminal.
        logSeverityLevel: 4,
        ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      }).catch((cause: unknown) => {
        throw runtimeError(name, "the runtime cannot load the model", cause);
      });
      return wrapSession(ort, name, session);
    },
  };
}

function wrapSession(ort: OrtModule, name: string, session: Ort.InferenceSession): Session {
  const known = new Set(session.inputNames);
  let released = false;
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    run: async (inputs, { signal } = {}) => {
      throwIfAborted(signal);
      const feeds: Record<string, Ort.Tensor> = {};
      for (const input of session.inputNames) {
        const value = inputs.get(input);
        if (!value)
          throw inputError(input, `no value was given, the model needs ${listNames(known)}`);
        feeds[input] = toOrt(ort, input, value);
      }
      for (const input of inputs.keys()) {
        if (!known.has(input))
          throw inputError(input, `no such input, the model has ${listNames(known)}`);
      }
      const results = await session.run(feeds).catch((cause: unknown) => {
        throw runtimeError(name, "the runtime stopped while it ran the model", cause);
      });
      throwIfAborted(signal);
      const outputs = new Map<string, Tensor>();
      for (const output of session.outputNames) {
        const value = results[output];
        if (value) outputs.set(output, fromOrt(output, value));
      }
      return outputs;
    },
    release: async () => {
      if (released) return;
      released = true;
      await session.release();
    },
  };
}

const TYPED_ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

type OrtDType = keyof typeof TYPED_ARRAYS;

function isOrtDType(dtype: string): dtype is OrtDType {
  return dtype in TYPED_ARRAYS;
}

function toOrt(ort: OrtModule, input: string, value: Tensor): Ort.Tensor {
  if (!isOrtDType(value.dtype)) {
    throw inputError(input, `dtype ${value.dtype} cannot be given to onnxruntime`);
  }
  const size = DTYPE_BYTES[value.dtype];
  const { bytes } =
    value.bytes.byteOffset % size === 0 ? value : { bytes: new Uint8Array(value.bytes) };
  const data = new TYPED_ARRAYS[value.dtype](
    bytes.buffer as ArrayBuffer,
    bytes.byteOffset,
    bytes.byteLength / size,
  );
  return new ort.Tensor(value.dtype, data as Float32Array, [...value.shape]);
}

function fromOrt(output: string, value: Ort.OnnxValue): Tensor {
  const { type, data, dims } = value as Ort.Tensor;
  if (!isOrtDType(type) || !ArrayBuffer.isView(data)) {
    throw badData(`output ${output}`, `its type is ${type}, expected a tensor of numbers`);
  }
  return { dtype: type satisfies DType, shape: [...dims], bytes: bytesOf(data) };
}

function inputError(input: string, what: string): ReparamError {
  return new ReparamError("usage", { where: `input ${JSON.stringify(input)}`, what });
}

function runtimeError(name: string, what: string, cause: unknown): ReparamError {
  const message = cause instanceof Error ? cause.message : String(cause);
  // One sentence: the message may have lines of its own and an end of line at its end.
  const said = message
    .trim()
    .replaceAll(/\s*\n\s*/g, " ")
    .replace(/\.$/, "");
  return new ReparamError("refused", { where: name, what: `${what}: ${said}`, cause });
}

function listNames(names: ReadonlySet<string>): string {
  return [...names].map((name) => JSON.stringify(name)).join(", ");
}
