/** @file Finds out what kind of data set a folder holds. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { badData } from "../../core/errors.ts";
import type { Dataset } from "../../train/dataset.ts";
import { fromOsError } from "../os-error.ts";
import { openCifar } from "./cifar.ts";
import { openIdx } from "./idx.ts";
import { type ImageFolderOptions, openImageFolder } from "./image-folder.ts";

export interface DatasetSplits {
  readonly kind: "mnist" | "cifar-10" | "cifar-100" | "folders";
  readonly training: Dataset;
  /** Absent where the folder has one split only. */
  readonly validation?: Dataset;
}

/**
 * Opens a folder of MNIST idx files, of CIFAR binary files, or of images: `train/` and `val/` (or `test/`) with a folder
 * per class each, or the class folders directly. Throws `bad-data` where the splits do not have the same classes.
 */
export async function openDataset(
  folder: string,
  options: ImageFolderOptions = {},
): Promise<DatasetSplits> {
  const names = await readdir(folder).catch((error: unknown) => {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw fromOsError(error, missing ? "not-found" : "cannot-read", folder, "cannot be listed");
  });
  const find = (...wanted: string[]): string | undefined => {
    const name = wanted.flatMap((base) => [base, `${base}.gz`]).find((n) => names.includes(n));
    return name === undefined ? undefined : join(folder, name);
  };
  const splits = await (openMnistFolder(find) ?? openCifarFolder(names, folder));
  if (splits) return splits;
  const train = find("train");
  if (train === undefined)
    return { kind: "folders", training: await openImageFolder(folder, options) };
  const validationFolder = find("val", "validation", "test");
  const training = await openImageFolder(train, options);
  if (validationFolder === undefined) return { kind: "folders", training };
  const validation = await openImageFolder(validationFolder, options);
  const [a, b] = [training.classNames, validation.classNames];
  if (a.join("\0") !== b.join("\0")) {
    const odd = [
      ...a.filter((name) => !b.includes(name)),
      ...b.filter((name) => !a.includes(name)),
    ];
    throw badData(
      validationFolder,
      `it has ${b.length} classes and ${train} has ${a.length}; only one of them has ${odd[0]}`,
      "Give both the same class folders",
    );
  }
  return { kind: "folders", training, validation };
}

type Find = (...wanted: string[]) => string | undefined;

function openMnistFolder(find: Find): Promise<DatasetSplits> | undefined {
  const images = find("train-images-idx3-ubyte", "train-images.idx3-ubyte");
  const labels = find("train-labels-idx1-ubyte", "train-labels.idx1-ubyte");
  if (images === undefined || labels === undefined) return undefined;
  const testImages = find("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte");
  const testLabels = find("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte");
  return (async () => {
    const training = await openIdx(images, labels);
    if (testImages === undefined || testLabels === undefined) return { kind: "mnist", training };
    return { kind: "mnist", training, validation: await openIdx(testImages, testLabels) };
  })();
}

function openCifarFolder(
  names: readonly string[],
  folder: string,
): Promise<DatasetSplits> | undefined {
  const ten = names.filter((name) => /^data_batch_\d\.bin$/.test(name)).sort();
  const [training, test, classes] =
    ten.length > 0
      ? [ten, "test_batch.bin", 10 as const]
      : [["train.bin"], "test.bin", 100 as const];
  if (!names.includes(training[0]!)) return undefined;
  return (async () => {
    const open = (files: readonly string[]): Promise<Dataset> =>
      openCifar(
        files.map((name) => join(folder, name)),
        classes,
      );
    const kind = classes === 10 ? "cifar-10" : "cifar-100";
    const splits = { kind, training: await open(training) } as const;
    return names.includes(test) ? { ...splits, validation: await open([test]) } : splits;
  })();
}
