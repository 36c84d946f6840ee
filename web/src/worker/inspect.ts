/** @file What is in a file, and what its deploy form would cost. */

import type { TargetFormat } from "../../../src/convert/conversion.ts";
import { knownGraph } from "../../../src/convert/deploy-graph.ts";
import { inspectModel } from "../../../src/convert/inspect.ts";
import type { ModelFile } from "../../../src/convert/open.ts";
import { planCheckpoint } from "../../../src/convert/plan-checkpoint.ts";
import { isFloatDType } from "../../../src/core/dtype.ts";
import { isReparamError } from "../../../src/core/errors.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import { byteLength, elementCount, type LazyTensor } from "../../../src/core/tensor.ts";
import type { Model } from "../../../src/ir/graph.ts";
import { type Plan, planReparam } from "../../../src/rewrite/plan.ts";
import { openSubject, withFamilyChoice } from "./open-subject.ts";
import type { FileView, Subject, Totals } from "./protocol.ts";

export async function inspectSubject(subject: Subject, task: TaskOptions): Promise<FileView> {
  const file = await openSubject(subject);
  return await withFamilyChoice(file, async () => {
    const inspection = await inspectModel(file, task);
    const sizeBytes = subject.file.size;
    const base = { inspection, sizeBytes };
    return file.kind === "onnx"
      ? { ...base, ...(await modelTotals(file.model, task)) }
      : { ...base, ...(await checkpointTotals(file)) };
  });
}

type Costs = Pick<FileView, "before" | "after" | "whyNot" | "targets">;

async function modelTotals(model: Model, task: TaskOptions): Promise<Costs> {
  const plan = await planReparam(model, task);
  const fuses = plan.regions.length > 0;
  return {
    before: totalsOf(plan.before, 4),
    after: fuses ? totalsOf(plan.after, 4) : undefined,
    whyNot: fuses ? undefined : "No part of this graph becomes a smaller convolution.",
    targets: fuses ? ["onnx"] : [],
  };
}

function totalsOf({ parameters, macs }: Plan["before"], bytesEach: number): Totals {
  return { parameters, macs, bytes: parameters * bytesEach };
}

async function checkpointTotals(file: Extract<ModelFile, { kind: "checkpoint" }>): Promise<Costs> {
  const stored = [...file.state.tensors.values()];
  try {
    const plan = await planCheckpoint(file);
    const graph = graphOf(file);
    const macs = graph ? await planReparam(graph) : undefined;
    const before = { ...sumOf(stored), macs: macs?.before.macs };
    if (plan.blocks.length === 0) {
      const whyNot = "Every block is in deploy form already.";
      return { before, after: undefined, whyNot, targets: [] };
    }
    const after = { ...sumOf(plan.tensors.map(({ tensor }) => tensor)), macs: macs?.after.macs };
    const targets: TargetFormat[] = ["pytorch", "safetensors", ...(graph ? ["onnx" as const] : [])];
    return { before, after, whyNot: undefined, targets };
  } catch (error) {
    if (!isReparamError(error, "refused")) throw error;
    const before = { ...sumOf(stored), macs: undefined };
    return { before, after: undefined, whyNot: error.message, targets: [] };
  }
}

function sumOf(tensors: readonly LazyTensor[]): { parameters: number; bytes: number } {
  let [parameters, bytes] = [0, 0];
  for (const tensor of tensors) {
    if (isFloatDType(tensor.dtype)) parameters += elementCount(tensor.shape);
    bytes += byteLength(tensor);
  }
  return { parameters, bytes };
}

function graphOf(file: Extract<ModelFile, { kind: "checkpoint" }>): Model | undefined {
  try {
    return knownGraph(file, undefined, { height: NOMINAL_SIZE, width: NOMINAL_SIZE });
  } catch (error) {
    if (isReparamError(error, "bad-data")) return undefined;
    throw error;
  }
}

/** Checkpoints do not say what they are fed; multiply-accumulates are counted at the size of the papers. */
export const NOMINAL_SIZE = 224;
