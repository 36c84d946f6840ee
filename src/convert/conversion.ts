/**
 * @file A conversion: planned first (what fuses, what passes through, what is refused), then written to a sink.
 * Nothing is computed before it is written, and then one chunk at a time.
 */

import type { ByteSink } from "../core/byte-sink.ts";
import { ReparamError } from "../core/errors.ts";
import { firstNonFinite } from "../core/finite.ts";
import type { TaskOptions } from "../core/task.ts";
import type { LazyTensor } from "../core/tensor.ts";
import type { NamedTensor } from "../formats/named-tensor.ts";
import type { ExternalOutput } from "../formats/onnx/write-model.ts";
import { writePytorch } from "../formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import type { Crc32 } from "../formats/zip/crc32.ts";
import type { Model } from "../ir/graph.ts";
import { type AppliedPlan, applyPlan } from "../rewrite/apply.ts";
import { cleanModel } from "../rewrite/clean.ts";
import { type Plan, planReparam } from "../rewrite/plan.ts";
import { type GraphOptions, requireGraph } from "./deploy-graph.ts";
import type { CheckpointFile, ModelFile, OnnxFile } from "./open.ts";
import { type CheckpointPlan, planCheckpoint } from "./plan-checkpoint.ts";

export type TargetFormat = "pytorch" | "safetensors" | "onnx";

export interface ConversionOptions extends GraphOptions, TaskOptions {
  /** Tidy an ONNX graph after fusing: dead nodes, `Constant` nodes, `Identity` nodes. Default true. */
  readonly clean?: boolean | undefined;
  /** Also fuse where one convolution costs more than the branches. Default false. */
  readonly allowCostlier?: boolean | undefined;
}

/** A checkpoint's conversion. */
export interface CheckpointConversion {
  readonly kind: "checkpoint";
  readonly file: CheckpointFile;
  readonly target: TargetFormat;
  readonly plan: CheckpointPlan;
  /** The deploy graph when the target is ONNX. */
  readonly model: Model | undefined;
}

/** An ONNX model's conversion. */
export interface GraphConversion {
  readonly kind: "onnx";
  readonly file: OnnxFile;
  readonly target: "onnx";
  readonly plan: Plan;
  readonly applied: AppliedPlan;
  /** The fused model, tidied if asked. */
  readonly model: Model;
}

export type Conversion = CheckpointConversion | GraphConversion;

/**
 * Plans the conversion of `file` to its deploy form in the target format.
 *
 * @throws usage (ONNX to a checkpoint), refused (unknown blocks, or ONNX wanted and the net is unknown), ambiguous, bad-data
 */
export async function planConversion(
  file: ModelFile,
  target: TargetFormat,
  options: ConversionOptions = {},
): Promise<Conversion> {
  if (file.kind === "checkpoint") {
    // The graph computes in float32: by way of a half precision of the checkpoint's numbers would be rounded twice.
    const storedAs = target === "onnx" ? "float32" : undefined;
    const plan = await planCheckpoint(file, { storedAs });
    const model = target === "onnx" ? requireGraph(file, plan.tensors, options) : undefined;
    return { kind: "checkpoint", file, target, plan, model };
  }
  if (target !== "onnx") {
    throw new ReparamError("usage", {
      where: file.name,
      what: "is an ONNX model and has no checkpoint keys to write",
      fix: "Give an output that ends in .onnx",
    });
  }
  const plan = await planReparam(file.model, {
    ...options,
    allowCostlier: options.allowCostlier ?? false,
  });
  const applied = applyPlan(file.model, plan);
  const model = (options.clean ?? true) ? cleanModel(applied.model).model : applied.model;
  return { kind: "onnx", file, target, plan, applied, model };
}

export interface WriteOptions extends TaskOptions {
  /** A faster CRC-32 for `.pth`, such as Node's `zlib.crc32`. */
  readonly crc32?: Crc32 | undefined;
  /** Where tensors go when the ONNX model would exceed 2 GiB. */
  readonly external?: ExternalOutput | undefined;
}

export interface WrittenConversion {
  /** Tensors that passed through although they hold NaN or an infinity, with the first such element. */
  readonly nonFinite: readonly { readonly name: string; readonly index: number }[];
}

/**
 * Computes and writes the deploy form. Does not close the sink: the caller verifies first.
 *
 * @throws bad-data naming the first tensor of a block that holds NaN or an infinity, or a variance that is not
 * positive; aborted
 */
export async function writeConversion(
  conversion: Conversion,
  sink: ByteSink,
  options: WriteOptions = {},
): Promise<WrittenConversion> {
  const { external, ...rest } = options;
  const found = new Map<string, number>();
  const fused = fusedTensors(conversion);
  const watch = ({ name, tensor }: NamedTensor): NamedTensor => ({
    name,
    // Fused numbers are looked at where they are made.
    tensor: fused.has(tensor)
      ? tensor
      : watchFinite(tensor, (index) => {
          if (!found.has(name)) found.set(name, index);
        }),
  });
  if (conversion.model) {
    const { graph } = conversion.model;
    const initializers = new Map(
      [...graph.initializers].map(([name, tensor]) => [name, watch({ name, tensor }).tensor]),
    );
    const model = { ...conversion.model, graph: { ...graph, initializers } };
    // Loaded when needed: the ONNX writer brings the protobuf package with it.
    const { writeModel } = await import("../formats/onnx/write-model.ts");
    await writeModel(model, sink, { ...rest, ...(external ? { external } : {}) });
  } else if (conversion.kind === "checkpoint") {
    const tensors = conversion.plan.tensors.map(watch);
    if (conversion.target === "safetensors") await writeSafetensors(tensors, sink, rest);
    else await writePytorch(tensors, sink, rest);
  }
  return { nonFinite: [...found].map(([name, index]) => ({ name, index })) };
}

function fusedTensors(conversion: Conversion): Set<LazyTensor> {
  const kernels =
    conversion.kind === "onnx"
      ? conversion.applied.regions.map((region) => region.kernel)
      : conversion.plan.blocks.map((block) => block.kernel);
  return new Set(kernels.map((kernel) => kernel.weight));
}

function watchFinite(tensor: LazyTensor, report: (index: number) => void): LazyTensor {
  return {
    ...tensor,
    read: async (start = 0, end, into) => {
      const bytes = await tensor.read(start, end, into);
      const at = firstNonFinite(bytes, tensor.dtype);
      if (at >= 0) report(start + at);
      return bytes;
    },
  };
}
