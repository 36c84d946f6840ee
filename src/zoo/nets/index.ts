/** @file RepVGG as data: variants, inference of a custom net, exact keys, graphs of both forms, seeded weights. */

export { type BuildRepVggOptions, buildRepVgg } from "./build-repvgg.ts";
export { castTensor } from "./cast-tensor.ts";
export { closestNames } from "./closest-names.ts";
export { type CreateRepVggOptions, createRepVgg, type Statistics } from "./create-repvgg.ts";
export {
  hasRepVggKeys,
  type InferRepVggOptions,
  type InferredRepVgg,
  inferRepVgg,
} from "./infer-repvgg.ts";
export {
  type RepVggArch,
  type RepVggBlock,
  type RepVggForm,
  type RepVggLayout,
  type RepVggStage,
  repVggBlocks,
  repVggStages,
  type SePosition,
} from "./repvgg-arch.ts";
export { type BlockForm, countParameters, type KeySpec, repVggKeys } from "./repvgg-keys.ts";
export { REPVGG_EPSILON } from "./repvgg-modules.ts";
export {
  REPVGG_VARIANTS,
  type RepVggOverrides,
  type RepVggVariant,
  repVggArch,
} from "./repvgg-variants.ts";
