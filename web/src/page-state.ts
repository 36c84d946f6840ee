/** @file The page's state and what a drop does to it. */

import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { CurveView } from "../../src/report/html/curve-view.ts";
import type { FindingView } from "../../src/report/html/findings-markup.ts";
import type { VerdictView } from "../../src/report/html/verdict-view.ts";
import { createModelSlot, type ModelSlot, swapSlots } from "./model-slot.ts";
import { createTask, type Task } from "./task.ts";
import type { ConvertedView, OutputComparison, RaceView, Subject } from "./worker/protocol.ts";
import { callWorker } from "./worker-client.ts";

export const training: ModelSlot = createModelSlot();
export const deploy: ModelSlot = createModelSlot();
export const conversion: Task<ConvertedView> = createTask();
export const weights: Task<VerdictView> = createTask();
export const findings: Task<FindingView[]> = createTask();
export const outputs: Task<OutputComparison> = createTask();
export const race: Task<RaceView> = createTask();
export const curve: Task<CurveView> = createTask();
/** The block that is looked at, by its place in the training file. */
export const chosenBlock: Signal<number | undefined> = signal(undefined);
/** The user's own input for the comparison: an image or an array. */
export const ownInput: Signal<File | undefined> = signal(undefined);
/** Which built-in example is shown, if one is. */
export const example: Signal<"file" | "pair" | undefined> = signal(undefined);

/** Both files, once both are known. */
export const pair: ReadonlySignal<{ training: Subject; deploy: Subject } | undefined> = computed(
  () => {
    const [first, second] = [training.subject.value, deploy.subject.value];
    return first && second && training.view.value && deploy.view.value
      ? { training: first, deploy: second }
      : undefined;
  },
);

/** Model files from a drop on the page: two replace everything, one joins a training form that waits for its partner. */
export async function openModels(files: readonly File[]): Promise<void> {
  const [first, second] = files;
  if (!first) return;
  if (second) {
    await Promise.all([openInSlot("training", first), openInSlot("deploy", second)]);
  } else if (training.subject.value && !deploy.subject.value) {
    await openInSlot("deploy", first);
  } else {
    await Promise.all([openInSlot("deploy", undefined), openInSlot("training", first)]);
  }
  const forms = [training, deploy].map((slot) => slot.view.value?.inspection.form);
  if (forms[0] === "deploy" && (forms[1] === "training" || forms[1] === "mixed")) {
    swapSlots(training, deploy);
  }
}

export async function openInSlot(
  name: "training" | "deploy",
  file: File | undefined,
): Promise<void> {
  example.value = undefined;
  race.reset();
  if (name === "training") {
    chosenBlock.value = undefined;
    conversion.reset();
    await training.fill(file);
  } else {
    await deploy.fill(file);
  }
}

/** Compares as soon as both files are there, and again when one of them or the input changes. */
export function startComparing(): void {
  effect(() => {
    const both = pair.value;
    const input = ownInput.value;
    for (const task of [weights, findings, outputs]) task.reset();
    if (both) void compare(both, input);
  });
}

async function compare(
  both: { training: Subject; deploy: Subject },
  input: File | undefined,
): Promise<void> {
  const verdict = await weights.run((options) => callWorker("weights", both, options));
  if (!verdict) return;
  if (verdict.tone !== "good") {
    void findings.run((options) => callWorker("findings", both, options));
  }
  // Why the outputs cannot be compared is known without running anything.
  if (verdict.outputsSkipped === WEIGHTS_ONLY) {
    void outputs.run((options) => callWorker("outputs", { ...both, input }, options));
  }
}

/** What `verify` says when both networks are known and no runtime was given. */
const WEIGHTS_ONLY = "weights only was asked for";
