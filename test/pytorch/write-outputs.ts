/** @file Writes, for one fixture, everything that PyTorch is to read, and says what each file must hold. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { planConversion, writeConversion } from "../../src/convert/conversion.ts";
import { type CheckpointFile, openModelFile, stripPrefix } from "../../src/convert/open.ts";
import type { ByteSink } from "../../src/core/byte-sink.ts";
import {
  float32Tensor,
  lazyTensor,
  readFloat64,
  type StateDict,
  type TensorMap,
} from "../../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../../src/formats/checkpoint.ts";
import type { NamedTensor } from "../../src/formats/named-tensor.ts";
import { writeModel } from "../../src/formats/onnx/write-model.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../../src/formats/safetensors/write-safetensors.ts";
import { createFileSink } from "../../src/host/file-sink.ts";
import { openFile } from "../../src/host/file-source.ts";
import { buildRepVgg, inferRepVgg } from "../../src/zoo/nets/index.ts";
import type { Fixture } from "./own-fixtures.ts";

/** What a tensor must be, bit by bit. */
export interface TensorDigest {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

export type TensorDigests = Readonly<Record<string, TensorDigest>>;

export interface Output {
  readonly format: "pth" | "safetensors" | "onnx";
  readonly form: "training" | "deploy";
  readonly path: string;
  /** Absent for ONNX. */
  readonly tensors?: TensorDigests;
}

/** One entry of check.py's job file. */
export interface Job {
  readonly case: string;
  readonly fixture: string;
  readonly key: string;
  readonly prefix: string;
  /** Of the fixture's file names: `y_train_f64<suffix>.npy`. */
  readonly suffix: string;
  /** What our reader finds in train.pth. */
  readonly train: TensorDigests;
  readonly outputs: readonly Output[];
}

async function digests(tensors: TensorMap): Promise<TensorDigests> {
  const entries: [string, TensorDigest][] = [];
  for (const [name, { dtype, shape, read }] of tensors) {
    const sha256 = createHash("sha256")
      .update(await read())
      .digest("hex");
    entries.push([name, { dtype, shape, sha256 }]);
  }
  return Object.fromEntries(entries);
}

/**
 * Into the folder `to`: the fixture's training form as .pth, .safetensors and .onnx, and the deploy form that we convert
 * it to, in the same three formats.
 */
export async function writeOutputs(
  { folder: from, suffix, record }: Fixture,
  to: string,
): Promise<Job> {
  const { key, prefix } = record.checkpoint;
  const file = await openFile(join(from, "train.pth"));
  try {
    const opened = await openModelFile(file, key === "" ? {} : { key });
    if (opened.kind !== "checkpoint") throw new Error(`${file.name} is not a checkpoint`);
    return {
      ...{ case: record.case, fixture: from, key, prefix, suffix },
      train: await digests(opened.state.tensors),
      outputs: [
        ...(await writeTraining(opened.state, { prefix, epsilon: record.epsilon, to })),
        ...(await writeDeploy(opened, to)),
      ],
    };
  } finally {
    await file.close();
  }
}

/**
 * A job that must fail: the fixture's deploy form with the first bias of the head moved by 1 %, while the digests are
 * those of the true weights.
 */
export async function writeMutated(job: Job, to: string): Promise<Job> {
  const output = job.outputs.find((one) => one.form === "deploy" && one.format === "pth")!;
  const file = await openFile(output.path);
  try {
    const { state } = chooseStateDict(await readCheckpoint(file));
    const named: NamedTensor[] = [];
    for (const [name, tensor] of state.tensors) {
      if (!name.endsWith("linear.bias")) {
        named.push({ name, tensor });
        continue;
      }
      const values = await readFloat64(tensor);
      values[0]! *= 1.01;
      named.push({ name, tensor: lazyTensor(float32Tensor(tensor.shape, values)) });
    }
    const path = join(to, "mutated.pth");
    await toFile(path, (sink) => writePytorch(named, sink));
    return { ...job, case: "mutated", outputs: [{ ...output, path }] };
  } finally {
    await file.close();
  }
}

async function writeTraining(
  state: StateDict,
  { prefix, epsilon, to }: { prefix: string; epsilon: number; to: string },
): Promise<Output[]> {
  const form = "training";
  const path = (format: Output["format"]): string => join(to, `${form}.${format}`);
  const named = [...state.tensors].map(([name, tensor]) => ({ name, tensor }));
  const tensors = await digests(state.tensors);
  const net = stripPrefix(state, prefix);
  const model = buildRepVgg(inferRepVgg(net).arch, form, net, { epsilon });
  await toFile(path("pth"), (sink) => writePytorch(named, sink));
  await toFile(path("safetensors"), (sink) => writeSafetensors(named, sink));
  await toFile(path("onnx"), (sink) => writeModel(model, sink));
  return [
    { format: "pth", form, path: path("pth"), tensors },
    { format: "safetensors", form, path: path("safetensors"), tensors },
    { format: "onnx", form, path: path("onnx") },
  ];
}

async function writeDeploy(file: CheckpointFile, to: string): Promise<Output[]> {
  const outputs: Output[] = [];
  for (const format of ["pth", "safetensors", "onnx"] as const) {
    const path = join(to, `deploy.${format}`);
    const conversion = await planConversion(file, format === "pth" ? "pytorch" : format);
    if (conversion.kind !== "checkpoint") throw new Error(`${file.name}: not a checkpoint's plan`);
    await toFile(path, async (sink) => {
      const { nonFinite } = await writeConversion(conversion, sink);
      if (nonFinite.length > 0) throw new Error(`${file.name}: not finite: ${nonFinite[0]!.name}`);
    });
    const named = new Map(conversion.plan.tensors.map(({ name, tensor }) => [name, tensor]));
    const tensors = format === "onnx" ? undefined : await digests(named);
    outputs.push({ format, form: "deploy", path, ...(tensors ? { tensors } : {}) });
  }
  return outputs;
}

async function toFile(path: string, write: (sink: ByteSink) => Promise<void>): Promise<void> {
  const sink = await createFileSink(path);
  await write(sink);
  await sink.close();
}
