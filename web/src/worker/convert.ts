/** @file Converts a file to its deploy form, reads the result back and compares it before anybody gets it. */

import {
  planConversion,
  type TargetFormat,
  writeConversion,
} from "../../../src/convert/conversion.ts";
import { openModelFile } from "../../../src/convert/open.ts";
import { blobSource } from "../../../src/core/byte-source.ts";
import { internalError, throwIfAborted } from "../../../src/core/errors.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import { verify } from "../../../src/verify/verify.ts";
import { blobSink } from "./blob-sink.ts";
import { openSubject, withFamilyChoice } from "./open-subject.ts";
import type { ConvertedView, Subject } from "./protocol.ts";

const ENDINGS: Readonly<Record<TargetFormat, string>> = {
  pytorch: ".pth",
  safetensors: ".safetensors",
  onnx: ".onnx",
};

/** `repvgg.pth` → `repvgg-deploy.onnx` */
export function deployName(name: string, target: TargetFormat): string {
  const stem = name.replace(/(\.pth)?\.[^.]+$/, "").replace(/[-_.]?train(ing)?$/, "");
  return `${stem || "model"}-deploy${ENDINGS[target]}`;
}

export async function convertSubject(
  subject: Subject,
  target: TargetFormat,
  task: TaskOptions,
): Promise<ConvertedView> {
  const start = performance.now();
  const file = await openSubject(subject);
  const conversion = await withFamilyChoice(file, () => planConversion(file, target, task));
  const sink = blobSink();
  const { nonFinite } = await writeConversion(conversion, sink, task);
  await sink.close();
  throwIfAborted(task.signal);
  const name = deployName(file.name, target);
  const written = new File([sink.blob()], name, { type: "application/octet-stream" });
  const { key, family, epsilon } = subject;
  const back = await openModelFile(blobSource(name, written), {
    family,
    epsilon,
    ...(target === "safetensors" || target === "onnx" ? {} : { key: key === undefined ? key : "" }),
  });
  const { verdict } = await verify(file, back, task);
  if (verdict.word === "DIFFERENT") {
    throw internalError(name, `what was written is not what was planned: ${verdict.reasons[0]}`);
  }
  const elapsedMs = performance.now() - start;
  return { file: written, nonFinite, verdict, elapsedMs };
}
