/** @file The public API for Node: everything of `reparam`, files, and onnxruntime-node. */

export { type ConvertFileOptions, convertFile } from "./host/convert-file.ts";
export { type CreateFileOptions, createModelFile } from "./host/create-file.ts";
export { openCifar } from "./host/data/cifar.ts";
export { openIdx } from "./host/data/idx.ts";
export { type ImageFolderOptions, openImageFolder } from "./host/data/image-folder.ts";
export { type DatasetSplits, openDataset } from "./host/data/open-dataset.ts";
export { type DiagnoseFilesOptions, diagnoseFiles } from "./host/diagnose-files.ts";
export { createExternalFiles, type OpenExternalFiles } from "./host/external-files.ts";
export { createFileSink, type FileSink, type FileSinkOptions } from "./host/file-sink.ts";
export { type FileSource, openFile } from "./host/file-source.ts";
export { type ImageBatchOptions, readImageBatch } from "./host/image-batch.ts";
export { type InsertFileOptions, insertFile } from "./host/insert-file.ts";
export { type InspectFileOptions, inspectFile } from "./host/inspect-file.ts";
export { type OpenedModel, openModelPath } from "./host/open-model.ts";
export { loadNodeRuntime } from "./host/ort-node.ts";
export { type PlanFileOptions, planFile } from "./host/plan-file.ts";
export { type DataFacts, type TrainFileOptions, trainFile } from "./host/train-file.ts";
export { readArray, type VerifyFilesOptions, verifyFiles } from "./host/verify-files.ts";
export * from "./index.ts";
