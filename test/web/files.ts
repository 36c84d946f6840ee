/** @file Files for the page's tests, made by the library from the example checkpoint; the page has to make the same. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  planConversion,
  type TargetFormat,
  writeConversion,
} from "../../src/convert/conversion.ts";
import { knownGraph } from "../../src/convert/deploy-graph.ts";
import { type CheckpointFile, openModelFile } from "../../src/convert/open.ts";
import { memorySink } from "../../src/core/byte-sink.ts";
import { memorySource } from "../../src/core/byte-source.ts";
import { modelToBytes } from "../../src/formats/onnx/write-model.ts";
import { writeSafetensors } from "../../src/formats/safetensors/write-safetensors.ts";
import { type DroppedFile, repository } from "./browser.ts";

export const trainingPth: DroppedFile = {
  name: "repvgg-small.pth",
  bytes: readFileSync(join(repository, "examples", "data", "repvgg-small.pth")),
};

async function open({ name, bytes }: DroppedFile): Promise<CheckpointFile> {
  const file = await openModelFile(memorySource(name, bytes));
  if (file.kind !== "checkpoint") throw new Error(`${name} is no checkpoint`);
  return file;
}

/** The example's training form as safetensors. */
export async function trainingSafetensors(): Promise<DroppedFile> {
  const { state } = await open(trainingPth);
  const sink = memorySink();
  const tensors = [...state.tensors].map(([name, tensor]) => ({ name, tensor }));
  await writeSafetensors(tensors, sink, {});
  return { name: "repvgg-small.safetensors", bytes: sink.bytes() };
}

/** The example's training form as ONNX, branches kept. */
export async function trainingOnnx(): Promise<DroppedFile> {
  const model = knownGraph(await open(trainingPth), undefined, { height: 64, width: 64 });
  return { name: "repvgg-small.onnx", bytes: await modelToBytes(model!) };
}

/** What the library converts `source` to. */
export async function converted(
  source: DroppedFile,
  target: TargetFormat,
  epsilon?: number,
): Promise<Uint8Array> {
  const file = await openModelFile(memorySource(source.name, source.bytes), { epsilon });
  const sink = memorySink();
  await writeConversion(await planConversion(file, target), sink);
  return sink.bytes();
}

/** What the library says about a bad file. */
export async function messageFor({ name, bytes }: DroppedFile): Promise<string> {
  try {
    await openModelFile(memorySource(name, bytes));
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${name} was opened`);
}
