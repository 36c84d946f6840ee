/** @file What becomes of dropped files, and the built-in example. */

import exampleUrl from "../../examples/data/repvgg-small.pth?url";
import {
  curve,
  deploy,
  example,
  openInSlot,
  openModels,
  ownInput,
  training,
} from "./page-state.ts";
import { createTask, type Task } from "./task.ts";
import { callWorker } from "./worker-client.ts";

/** Files that are no models, by their names: what an unknown file is, its content says. */
const CURVE = /\.jsonl$/i;
const INPUT = /\.(npy|png|jpe?g|webp|gif|bmp|avif)$/i;

/** `slot` is where they fell, if on one of the two. */
export async function openDrop(files: readonly File[], slot: string | undefined): Promise<void> {
  const log = files.find(({ name }) => CURVE.test(name));
  if (log) void openCurve(log);
  const input = files.find(({ name }) => INPUT.test(name));
  if (input) ownInput.value = input;
  const models = files.filter(({ name }) => !CURVE.test(name) && !INPUT.test(name));
  const [only, another] = models;
  if (only && !another && (slot === "training" || slot === "deploy")) await openInSlot(slot, only);
  else await openModels(models);
}

async function openCurve(file: File): Promise<void> {
  await curve.run((options) => callWorker("curve", { file }, options));
}

/** PyTorch's own default is 1e-5; 1e-3 is what Keras and many detection codes use. */
const WRONG_EPSILON = 1e-3;

/** The example's own progress and failure. */
export const exampleTask: Task<void> = createTask();

/** `pair` adds a deploy form that was fused with the wrong BatchNorm epsilon. */
export async function openExample(kind: "file" | "pair"): Promise<void> {
  await exampleTask.run(async (options) => {
    const response = await fetch(exampleUrl);
    if (!response.ok) throw new Error(`the example cannot be fetched: ${response.status}`);
    const file = new File([await response.blob()], "repvgg-small.pth");
    await openInSlot("deploy", undefined);
    await openInSlot("training", file);
    example.value = kind;
    const subject = training.subject.value;
    if (kind === "file" || !subject) return;
    const wrong = { ...subject, id: -subject.id, epsilon: WRONG_EPSILON };
    const params = { subject: wrong, target: "pytorch" } as const;
    const { file: converted } = await callWorker("convert", params, options);
    await deploy.fill(new File([converted], "repvgg-small-deploy.pth"));
  });
}
