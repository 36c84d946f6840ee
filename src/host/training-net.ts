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
  /** False for an ONNX model: its weights have no checkpoint keys. */
  readonly hasCheckpointKeys: boolean;
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
    return { model, name, hasCheckpointKeys: true, checkpoint: state.tensors };
  }
  const opened = await openModelPath(
    source.file,
    source.key === undefined ? {} : { key: source.key },
  );
  try {
    const { file } = opened;
    if (file.kind === "onnx") {
      const model = await decodeInitializers(file.model);
      return { model, name: source.file, hasCheckpointKeys: false, checkpoint: new Map() };
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
    return { model, name: arch.name ?? source.file, hasCheckpointKeys: true, checkpoint };
  } finally {
    await opened.close();
  }
}
