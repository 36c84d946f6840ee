/** @file A checkpoint of any supported container: its state dicts, by their place in the file. */

import type { ByteSource } from "../core/byte-source.ts";
import { badData, ReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { StateDict, TensorMap } from "../core/tensor.ts";
import { detectFile, type FileFormat } from "./detect.ts";
import { npzTensors } from "./npy/read-npz.ts";
import { findStateDicts, plainNotes } from "./pytorch/find-state-dicts.ts";
import type { PickleFile } from "./pytorch/pickle-file.ts";
import { readLegacyFile } from "./pytorch/read-legacy-file.ts";
import { readZipFile } from "./pytorch/read-zip-file.ts";
import { readSafetensors } from "./safetensors/read-safetensors.ts";

export interface StateDictCandidate {
  /** Dotted path inside the stored object, e.g. `"state_dict"`, `"ema"`; `""` when the object itself is one. */
  readonly path: string;
  /** How many tensors it has. */
  readonly tensors: number;
  readonly state: StateDict;
}

export interface Checkpoint {
  readonly format: FileFormat;
  /** The source's name. */
  readonly source: string;
  /** State dicts in file order; several names for the same storages count once, optimizer states never. */
  readonly candidates: readonly StateDictCandidate[];
  /** safetensors metadata, or plain values beside the weights (`epoch`, `arch`, …). */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads names, shapes and positions; the weights stay in the file until a tensor is read.
 *
 * @throws bad-data for files of other formats, damaged and hostile ones
 */
export async function readCheckpoint(
  source: ByteSource,
  options: TaskOptions = {},
): Promise<Checkpoint> {
  throwIfAborted(options.signal);
  const detected = await detectFile(source);
  const { format } = detected;
  const base = { format, source: source.name };
  switch (detected.format) {
    case "pytorch-zip":
      return {
        ...base,
        ...fromPickle(source, await readZipFile(detected.archive, detected.folder)),
      };
    case "pytorch-legacy":
      return { ...base, ...fromPickle(source, await readLegacyFile(source)) };
    case "safetensors": {
      const { tensors, metadata } = await readSafetensors(source);
      return { ...base, candidates: [wholeFile(tensors)], metadata };
    }
    case "npz":
      return { ...base, candidates: [wholeFile(await npzTensors(detected.archive))], metadata: {} };
    default:
      throw badData(
        source.name,
        `is ${format === "onnx" ? "an ONNX model" : "a single .npy array"}, expected a checkpoint`,
        "Give a PyTorch checkpoint (.pth, .pt, .ckpt) or a .safetensors file",
      );
  }
}

function wholeFile(tensors: TensorMap): StateDictCandidate {
  return { path: "", tensors: tensors.size, state: { tensors, modules: new Map() } };
}

function fromPickle(
  source: ByteSource,
  file: PickleFile,
): Pick<Checkpoint, "candidates" | "metadata"> {
  const candidates = findStateDicts(source.name, file.root, file.locate).map(({ path, state }) => ({
    path,
    tensors: state.tensors.size,
    state,
  }));
  return { candidates, metadata: plainNotes(file.root) };
}

/**
 * The state dict to work on: the one named by `key`, else the only one.
 *
 * @throws ambiguous when there are several and no key; not-found when none has the key; bad-data when there is none
 */
export function chooseStateDict(checkpoint: Checkpoint, key?: string): StateDictCandidate {
  const { candidates, source } = checkpoint;
  const list = candidates
    .map(({ path, tensors }) => `${path === "" ? '""' : path} (${tensors} tensors)`)
    .join(", ");
  if (candidates.length === 0) {
    throw badData(
      source,
      "holds no state dict: no mapping from names to float tensors was found",
      "Save model.state_dict() with torch.save",
    );
  }
  if (key !== undefined) {
    const chosen = candidates.find(({ path }) => path === key);
    if (chosen) return chosen;
    throw new ReparamError("not-found", {
      where: source,
      what: `no state dict at key "${key}"; found ${list}`,
      fix: "Choose one of these with --key",
    });
  }
  if (candidates.length === 1) return candidates[0]!;
  throw new ReparamError("ambiguous", {
    where: source,
    what: `${candidates.length} state dicts with different weights: ${list}`,
    fix: `Choose one with --key, for example --key ${candidates[0]!.path}`,
  });
}
