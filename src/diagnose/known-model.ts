/** @file The graph of a file, where it is known. */

import { knownGraph } from "../convert/deploy-graph.ts";
import type { ModelFile } from "../convert/open.ts";
import { planCheckpoint } from "../convert/plan-checkpoint.ts";
import { isReparamError } from "../core/errors.ts";
import type { Model } from "../ir/graph.ts";
import { applyPlan } from "../rewrite/apply.ts";
import { cleanModel } from "../rewrite/clean.ts";
import { planReparam } from "../rewrite/plan.ts";

/** Undefined where only the blocks of a checkpoint are known. */
export function knownModel(file: ModelFile): Model | undefined {
  if (file.kind === "onnx") return file.model;
  return orUndefined(() => knownGraph(file, undefined));
}

/** An exactly fused model, and where the kernel of each block is in it. */
export interface ExactDeploy {
  readonly model: Model;
  /** By a kernel's `weightName` (checkpoint key, or the region's output): names of the initializers. */
  readonly kernels: ReadonlyMap<
    string,
    { readonly weight: string; readonly bias: string | undefined }
  >;
}

/** The exact deploy form of a training file; undefined where its graph is not known. */
export async function exactDeploy(file: ModelFile): Promise<ExactDeploy | undefined> {
  if (file.kind === "onnx") {
    const applied = applyPlan(file.model, await planReparam(file.model, { allowCostlier: false }));
    const kernels = new Map(
      applied.regions.map(({ region, weight, bias }) => [region.output, { weight, bias }]),
    );
    return { model: applied.model, kernels };
  }
  if (!knownModel(file)) return undefined;
  const { tensors, blocks } = await planCheckpoint(file);
  const model = orUndefined(() => knownGraph(file, tensors));
  if (!model) return undefined;
  const short = (name: string): string =>
    name.slice(name.startsWith(file.prefix) ? file.prefix.length : 0);
  const kernels = new Map(
    blocks.map(({ weightName, biasName }) => [
      short(weightName),
      { weight: short(weightName), bias: short(biasName) },
    ]),
  );
  return { model, kernels };
}

/** The graph fused and tidied, so that graphs of both forms can be compared node by node. */
export async function fusedModel(model: Model): Promise<Model> {
  const applied = applyPlan(model, await planReparam(model, { allowCostlier: false }));
  return cleanModel(applied.model).model;
}

function orUndefined<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (isReparamError(error)) return undefined;
    throw error;
  }
}
