/** @file What a training run starts from: an architecture, a checkpoint, or an ONNX model. */

import { ReparamError } from "../core/errors.ts";
import type { LazyTensor, StateDict } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { decodeInitializers, decodeTensors } from "../train/trained-state.ts";
import { buildRepVgg, createRepVgg, inferRepVgg, type RepVggArch } from "../zoo/nets/index.ts";
import { openModelPath } from "./open-model.ts";

/** The run's start; `file` is a path. */
export type TrainingSource =
  | { readonly arch: RepVggArch; readonly seed: number }
  | { readonly file: string; readonly key?: string | undefined };

export interface TrainingNet {
  readonly model: Model;
  /** For reports. */
  readonly name: string;
  /** Whether it came from a graph that says how the checkpoint's tensors belong together: then no family has to be known. */
  readonly isGraph: boolean;
  /** Every tensor of the checkpoint, in its order: auxiliary heads are in it and not in the model. Empty for ONNX. */
  readonly checkpoint: ReadonlyMap<string, LazyTensor>;
}

/**
 * A graph in training form with all weights in memory.
 *
 * @param size height and width of the samples, for nets that leave them open
 * @throws refused for a deploy form, and what opening the file throws
 */
export async function openTrainingNet(
  source: TrainingSource,
  size: { readonly height: number; readonly width: number },
): Promise<TrainingNet> {
  const build = (arch: RepVggArch, state: StateDict): Model =>
    buildRepVgg(arch, "training", state, { input: size });
  if ("arch" in source) {
    const { arch, seed } = source;
    const state = createRepVgg(arch, "training", { seed, statistics: "fresh" });
    const model = await decodeInitializers(build(arch, state));
    const name = arch.name ?? "custom RepVGG";
    return { model, name, isGraph: false, checkpoint: state.tensors };
  }
  const opened = await openModelPath(
    source.file,
    source.key === undefined ? {} : { key: source.key },
  );
  try {
    const { file } = opened;
    if (file.kind === "onnx") {
      const model = await decodeInitializers(file.model);
      return { model, name: source.file, isGraph: true, checkpoint: new Map() };
    }
    const { arch, form } = inferRepVgg(file.state, { where: source.file });
    if (form !== "training") {
      throw new ReparamError("refused", {
        where: source.file,
        what: `it is a ${form} form, expected a training form`,
        fix: "Put branches into it with reparam insert, or train the file it was converted from",
      });
    }
    const model = await decodeInitializers(build(arch, file.state));
    const checkpoint = await decodeTensors(file.state.tensors);
    return { model, name: arch.name ?? source.file, isGraph: false, checkpoint };
  } finally {
    await opened.close();
  }
}

/** What `state_dict` calls a tensor: names of attributes with dots between them. */
const CHECKPOINT_KEY = /^[A-Za-z_]\w*(\.\w+)*$/;

/** Operators whose stored inputs are a module's tensors; constants of others (shapes, limits) belong to the graph alone. */
const MODULES = ["Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"];

/**
 * The names under which PyTorch's modules know the graph's weights, as its exporter keeps them.
 *
 * @throws usage where a weight has lost its name, and a checkpoint at `path` could not be loaded by any module
 */
export function assertCheckpointKeys({ graph }: Model, path: string): void {
  for (const node of graph.nodes.filter(({ opType }) => MODULES.includes(opType))) {
    const lost = node.inputs.find((name) => graph.initializers.has(name) && !isCheckpointKey(name));
    if (lost === undefined) continue;
    throw new ReparamError("usage", {
      where: path,
      what: `the ONNX model's weight ${JSON.stringify(lost)} has no name that a module's state dict could have`,
      fix: "Give an output that ends in .onnx, or export the model with its parameter names",
    });
  }
}

export function isCheckpointKey(name: string): boolean {
  return CHECKPOINT_KEY.test(name);
}
