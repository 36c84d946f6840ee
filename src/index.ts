/**
 * @file The public API that runs in Node and in browsers. Files and the native runtime are in `reparam/node`.
 *
 * The main road: `openModelFile` → `planConversion` → `writeConversion` → `verify`. Every function is documented where
 * it is defined; errors are `ReparamError`s with a stable `tag`; long work takes `onProgress` and `signal`.
 */

export type { PlainNetOptions } from "./convert/checkpoint-convs.ts";
// Converting.
export {
  type CheckpointConversion,
  type Conversion,
  type ConversionOptions,
  type GraphConversion,
  planConversion,
  type TargetFormat,
  type WriteOptions,
  type WrittenConversion,
  writeConversion,
} from "./convert/conversion.ts";
export {
  type CheckpointInsertion,
  type CheckpointInsertionPlan,
  planCheckpointInsertion,
} from "./convert/insert-checkpoint.ts";
export {
  type CheckpointInspection,
  type InspectedBlock,
  type InspectedTensor,
  type Inspection,
  type InspectOptions,
  inspectModel,
  type OnnxInspection,
} from "./convert/inspect.ts";
export {
  type CheckpointFile,
  type ModelFile,
  type OnnxFile,
  type OpenOptions,
  openModelFile,
  type ReadingOptions,
} from "./convert/open.ts";
export { type CheckpointPlan, planCheckpoint } from "./convert/plan-checkpoint.ts";
export { type TensorStatistics, tensorStatistics } from "./convert/tensor-statistics.ts";
// Bytes, tensors, errors, tasks.
export { type ByteSink, type MemorySink, memorySink } from "./core/byte-sink.ts";
export { type ByteSource, blobSource, memorySource } from "./core/byte-source.ts";
export type { DType, FloatDType } from "./core/dtype.ts";
export { type ErrorTag, isReparamError, ReparamError } from "./core/errors.ts";
export type { Rng } from "./core/rng.ts";
export type { Progress, TaskOptions } from "./core/task.ts";
export {
  float32Tensor,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  type ModuleRecord,
  readFloat64,
  readTensor,
  type Shape,
  type StateDict,
  type Tensor,
  type TensorMap,
  tensor,
} from "./core/tensor.ts";
// Diagnosing.
export { CAUSES, type CauseId, type CauseRow } from "./diagnose/causes.ts";
export { type DiagnoseOptions, type Diagnosis, diagnose } from "./diagnose/diagnose.ts";
export type { Confidence, Effect, Evidence, Finding } from "./diagnose/finding.ts";
export type { ChannelNote, DepthError, Numerics } from "./diagnose/numerics.ts";
// Formats.
export {
  type Checkpoint,
  chooseStateDict,
  readCheckpoint,
  type StateDictCandidate,
} from "./formats/checkpoint.ts";
export { detectFormat, type FileFormat } from "./formats/detect.ts";
export type { NamedTensor } from "./formats/named-tensor.ts";
export { readNpy } from "./formats/npy/read-npy.ts";
export { readNpz } from "./formats/npy/read-npz.ts";
export { writeNpy } from "./formats/npy/write-npy.ts";
export type { ExternalFiles } from "./formats/onnx/external-data.ts";
export { type ReadModelOptions, readModel } from "./formats/onnx/read-model.ts";
export {
  type ExternalOutput,
  modelToBytes,
  type WriteModelOptions,
  writeModel,
} from "./formats/onnx/write-model.ts";
export { writePytorch } from "./formats/pytorch/write-pytorch.ts";
export { writeSafetensors } from "./formats/safetensors/write-safetensors.ts";
// Graphs.
export type { Attribute, Dim, Graph, Model, Node, ValueInfo } from "./ir/graph.ts";
export { formatGraph } from "./ir/print.ts";
// Results of whole commands.
export type { InsertedBlock, InsertionResult } from "./report/insertion-result.ts";
export type {
  ConversionResult,
  CreationResult,
  FileFacts,
  InspectionResult,
  PlanResult,
  TrainingResult,
  VerificationResult,
} from "./report/result.ts";
// Rewriting.
export { type AppliedPlan, type AppliedRegion, applyPlan } from "./rewrite/apply.ts";
export { cleanModel, type PassResult } from "./rewrite/clean.ts";
export type { Cost } from "./rewrite/cost.ts";
// Inserting.
export {
  type AppliedInsertion,
  applyInsertion,
  type InsertedModel,
} from "./rewrite/insert/apply-insertion.ts";
export type { ChannelStatistics } from "./rewrite/insert/block-tensors.ts";
export type { BlockKind } from "./rewrite/insert/blocks.ts";
export { calibrateInsertion, type ObserveChannels } from "./rewrite/insert/calibrate.ts";
export type { LeftAlone } from "./rewrite/insert/find-convs.ts";
export type { FreshStart } from "./rewrite/insert/fresh-tensors.ts";
export {
  type Insertion,
  type InsertionOptions,
  type InsertionPlan,
  planInsertion,
} from "./rewrite/insert/plan-insertion.ts";
export {
  type Plan,
  type PlanOptions,
  planReparam,
  type Refusal,
  type Region,
} from "./rewrite/plan.ts";
export { type ChannelMoments, channelMoments } from "./runtime/channel-statistics.ts";
// Running.
export {
  createRuntime,
  type OrtModule,
  type Runtime,
  type Session,
  type SessionOptions,
} from "./runtime/session.ts";
// Training.
export {
  type AugmentOptions,
  defaultNormalization,
  type Normalization,
} from "./train/augment.ts";
export { type Dataset, memoryDataset, type Sample } from "./train/dataset.ts";
export { type EvaluateOptions, type Evaluation, evaluateModel } from "./train/evaluate.ts";
export type { AdamWOptions, OptimizerOptions, SgdOptions } from "./train/optimizers.ts";
export type { ScheduleOptions } from "./train/schedule.ts";
export {
  type EpochRecord,
  type StepRecord,
  type TrainOptions,
  type TrainRecord,
  type TrainResult,
  trainModel,
} from "./train/train-model.ts";
// Verifying.
export type { FunctionCertificate, OutputCertificate } from "./verify/function.ts";
export { compareGolden, type GoldenComparison } from "./verify/golden.ts";
export type { Decisions, OutputMetrics } from "./verify/metrics.ts";
export type { Verdict, VerdictWord } from "./verify/verdict.ts";
export { type Verification, type VerifyOptions, verify } from "./verify/verify.ts";
export type { BlockCertificate, BlockStatus, WeightCertificate } from "./verify/weights.ts";
// Families and nets.
export { FAMILIES } from "./zoo/families/index.ts";
export { FAMILY_NOTES } from "./zoo/families/notes.ts";
export type { BlockRow, FamilyNotes, FamilyRow } from "./zoo/family.ts";
export {
  type BuildRepVggOptions,
  buildRepVgg,
  type CreateRepVggOptions,
  createRepVgg,
  type InferRepVggOptions,
  type InferredRepVgg,
  inferRepVgg,
  REPVGG_VARIANTS,
  type RepVggArch,
  type RepVggOverrides,
  type RepVggVariant,
  repVggArch,
  type Statistics,
} from "./zoo/nets/index.ts";
export { parseRecipe } from "./zoo/recipe.ts";
export {
  type BlockMatch,
  type Recognition,
  type RecognizeOptions,
  recognize,
} from "./zoo/recognize.ts";
