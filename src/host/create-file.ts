/** @file A RepVGG with seeded weights as a file: a checkpoint or an ONNX model. */

import type { GraphOptions } from "../convert/deploy-graph.ts";
import type { TaskOptions } from "../core/task.ts";
import type { StateDict } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { CreationResult } from "../report/result.ts";
import {
  buildRepVgg,
  countParameters,
  createRepVgg,
  type RepVggArch,
  repVggKeys,
  type Statistics,
} from "../zoo/nets/index.ts";
import { type PublishOptions, publishModel } from "./publish-model.ts";
import { targetFormat } from "./target-format.ts";
import { contentOf, modelOf, writeContent } from "./write-content.ts";

export interface CreateFileOptions extends TaskOptions, GraphOptions, PublishOptions {
  /** Default `training`. */
  readonly form?: "training" | "deploy" | undefined;
  /** Any integer; equal seeds give equal bytes. Default 0. */
  readonly seed?: number | undefined;
  /** What the BatchNorms hold. Default `random`, which tests need. */
  readonly statistics?: Statistics | undefined;
}

/**
 * Writes `arch` to `path`, whose ending chooses the format. ONNX weights above 2 GiB go to `<path>.data`.
 *
 * @throws usage, cannot-write, aborted
 */
export async function createModelFile(
  arch: RepVggArch,
  path: string,
  options: CreateFileOptions = {},
): Promise<CreationResult> {
  const { form = "training", seed = 0, statistics = "random" } = options;
  const target = targetFormat(path);
  const state = createRepVgg(arch, form, { seed, statistics });
  const content = contentOf(target, state.tensors, () => graphOf(arch, form, state, options));
  const { output } = await publishModel(
    path,
    {
      model: modelOf(content),
      write: (sink, external) => writeContent(content, sink, external, options),
    },
    options,
  );
  return {
    output,
    arch,
    form,
    seed,
    parameters: countParameters(repVggKeys(arch, form)),
  };
}

function graphOf(
  arch: RepVggArch,
  form: "training" | "deploy",
  state: StateDict,
  { height, width, opset }: CreateFileOptions,
): Model {
  return buildRepVgg(arch, form, state, {
    ...(opset === undefined ? {} : { opset }),
    input: {
      ...(height === undefined ? {} : { height }),
      ...(width === undefined ? {} : { width }),
    },
  });
}
