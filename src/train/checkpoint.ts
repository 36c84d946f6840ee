/**
 * @file A training run on disk: every state vector and how far it got, as one safetensors file. A resumed run continues
 * bit by bit, because order and augmentation follow from the seed (`batches.ts`).
 */

import type { ByteSink } from "../core/byte-sink.ts";
import type { ByteSource } from "../core/byte-source.ts";
import { float32View } from "../core/dtype.ts";
import { badData, ReparamError } from "../core/errors.ts";
import { lazyTensor } from "../core/tensor.ts";
import { readSafetensors } from "../formats/safetensors/read-safetensors.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import { type Vectors, vectorTensor } from "./trained-state.ts";

/** How far a run got. */
export interface RunProgress {
  /** The epoch to go on in, from 0. */
  readonly epoch: number;
  /** Entries of that epoch's order already used. */
  readonly position: number;
  /** Optimizer steps done in all. */
  readonly step: number;
  /** Batches seen in all, accumulated ones included. */
  readonly batches: number;
}

const FORMAT = "reparam-training-1";

/** Writes and closes; the sink is aborted when writing fails, so an older file stays. */
export async function writeCheckpoint(
  sink: ByteSink,
  vectors: Vectors,
  progress: RunProgress,
  fingerprint: string,
): Promise<void> {
  try {
    const tensors = [...vectors].map(([name, values]) => ({
      name,
      tensor: lazyTensor(vectorTensor(values)),
    }));
    const metadata = { format: FORMAT, progress: JSON.stringify(progress), fingerprint };
    await writeSafetensors(tensors, sink, { metadata });
    await sink.close();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/**
 * @param expected length of every state vector by name
 * @throws `bad-data` for a file that is no training checkpoint; `usage` for one of a run with other options
 */
export async function readCheckpoint(
  source: ByteSource,
  expected: ReadonlyMap<string, number>,
  fingerprint: string,
): Promise<{ vectors: Map<string, Float32Array>; progress: RunProgress }> {
  const file = await readSafetensors(source);
  if (file.metadata["format"] !== FORMAT) {
    throw badData(
      source.name,
      `format is ${file.metadata["format"] ?? "not stated"}, expected ${FORMAT}`,
      "Give the file that a training run wrote as its checkpoint",
    );
  }
  const difference = firstDifference(file.metadata["fingerprint"] ?? "", fingerprint);
  if (difference !== undefined) {
    throw new ReparamError("usage", {
      where: source.name,
      what: `the run it belongs to had ${difference}`,
      fix: "Resume with the options of that run, or start a new one",
    });
  }
  const vectors = new Map<string, Float32Array>();
  for (const [name, size] of expected) {
    const lazy = file.tensors.get(name);
    if (lazy?.dtype !== "float32" || lazy.shape.join() !== `${size}`) {
      throw badData(source.name, `vector ${name} is missing or not float32 [${size}]`);
    }
    vectors.set(name, float32View((await lazy.read()).slice()));
  }
  return { vectors, progress: parseProgress(source.name, file.metadata["progress"] ?? "") };
}

function parseProgress(where: string, text: string): RunProgress {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ReparamError("bad-data", { where, what: "its progress record is not JSON", cause });
  }
  const record = value as Partial<Record<keyof RunProgress, unknown>> | null;
  const count = (key: keyof RunProgress): number => {
    const found = record?.[key];
    if (Number.isSafeInteger(found) && (found as number) >= 0) return found as number;
    throw badData(where, `its progress record has no count ${key}`);
  };
  return {
    epoch: count("epoch"),
    position: count("position"),
    step: count("step"),
    batches: count("batches"),
  };
}

/** The first option that differs, as `name found, now expected`. Fingerprints are JSON objects of plain values. */
function firstDifference(found: string, expected: string): string | undefined {
  if (found === expected) return undefined;
  try {
    const before = JSON.parse(found) as Record<string, unknown>;
    const now = JSON.parse(expected) as Record<string, unknown>;
    for (const key of Object.keys(now)) {
      const [a, b] = [JSON.stringify(before[key]), JSON.stringify(now[key])];
      if (a !== b) return `${key} ${a ?? "unset"}, this one has ${b ?? "unset"}`;
    }
  } catch {
    // Not a fingerprint of ours: said in general below.
  }
  return "other options";
}
