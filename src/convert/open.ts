/** @file A file of weights or a model, opened: what it is, and which of its state dicts is meant. */

import type { ByteSource } from "../core/byte-source.ts";
import { badData } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { StateDict } from "../core/tensor.ts";
import { type Checkpoint, chooseStateDict, readCheckpoint } from "../formats/checkpoint.ts";
import { detectFormat, type FileFormat } from "../formats/detect.ts";
import type { ExternalFiles } from "../formats/onnx/external-data.ts";
import { splitPrefix } from "../formats/wrappers.ts";
import type { Model } from "../ir/graph.ts";
import type { FamilyRow } from "../zoo/family.ts";

/** What a user can say about a file that the file does not say itself. */
export interface ReadingOptions {
  /** Path of the state dict inside a checkpoint, e.g. `ema`. Default: the only one. */
  readonly key?: string | undefined;
  /** Batch normalization's epsilon where the file does not hold it. Default: the family's. */
  readonly epsilon?: number | undefined;
  /** Name of the block family, where several fit. */
  readonly family?: string | undefined;
  /**
   * Whether blocks whose keys do not tell have a bare identity branch. Default: where input and output channels agree
   * and no recorded stride speaks against it; that is said in the notes.
   */
  readonly identity?: boolean | undefined;
  /** Families that are not built in. */
  readonly recipes?: readonly FamilyRow[] | undefined;
}

export interface OpenOptions extends ReadingOptions, TaskOptions {
  /** Opens the external data of an ONNX model. Default: external data is refused. */
  readonly external?: ExternalFiles | undefined;
}

export interface CheckpointFile {
  readonly kind: "checkpoint";
  readonly name: string;
  readonly format: FileFormat;
  readonly checkpoint: Checkpoint;
  /** Path of the chosen state dict. */
  readonly key: string;
  readonly state: StateDict;
  /** Wrapper prefix that the keys share, e.g. `module.`; kept on output. */
  readonly prefix: string;
  readonly reading: ReadingOptions;
  /** Names in the deploy file that this one is compared with, without a prefix: evidence of the family. */
  readonly deployKeys?: ReadonlySet<string> | undefined;
}

export interface OnnxFile {
  readonly kind: "onnx";
  readonly name: string;
  readonly model: Model;
  readonly reading: ReadingOptions;
}

export type ModelFile = CheckpointFile | OnnxFile;

/**
 * Opens a checkpoint or an ONNX model. Weights stay in the file until they are needed.
 *
 * @throws bad-data (not such a file), ambiguous (several state dicts and no `key`), not-found (no such `key`)
 */
export async function openModelFile(
  source: ByteSource,
  options: OpenOptions = {},
): Promise<ModelFile> {
  const { key, epsilon, family, identity, recipes, external } = options;
  const reading = { key, epsilon, family, identity, recipes };
  const format = await detectFormat(source);
  if (format === "onnx") {
    // Loaded when needed: most files are checkpoints, and this reader is a fifth of all code.
    const { readModel } = await import("../formats/onnx/read-model.ts");
    const model = await readModel(source, { ...options, ...(external ? { external } : {}) });
    return { kind: "onnx", name: source.name, model, reading };
  }
  if (format === "npy" || format === "npz") {
    throw badData(
      source.name,
      `is an ${format} array, expected a checkpoint or an ONNX model`,
      "Arrays are given with --input or --golden",
    );
  }
  const checkpoint = await readCheckpoint(source, options);
  const { path, state } = chooseStateDict(checkpoint, key);
  return {
    kind: "checkpoint",
    name: source.name,
    format,
    checkpoint,
    key: path,
    state,
    prefix: splitPrefix(state.tensors.keys()).prefix,
    reading,
  };
}

/** The state dict without a shared prefix, module records included. */
export function stripPrefix(state: StateDict, prefix: string): StateDict {
  if (prefix === "") return state;
  const cut = <T>(map: ReadonlyMap<string, T>): Map<string, T> =>
    new Map(
      [...map].flatMap(([name, value]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), value] as const] : [],
      ),
    );
  return { tensors: cut(state.tensors), modules: cut(state.modules) };
}
