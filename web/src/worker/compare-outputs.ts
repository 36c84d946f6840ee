/** @file Runs both networks of a comparison: outputs, and the error block by block. */

import { graphOf } from "../../../src/convert/graph-of.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import { verdictView } from "../../../src/report/html/verdict-view.ts";
import { noiseFloor } from "../../../src/verify/noise-floor.ts";
import { verify } from "../../../src/verify/verify.ts";
import { openSubject } from "./open-subject.ts";
import { readInput } from "./own-input.ts";
import type { OutputComparison, Subject } from "./protocol.ts";
import { loadRuntime } from "./runtime.ts";

/** Weights and outputs; `input` is the user's own, else inputs are generated. */
export async function compareOutputs(
  training: Subject,
  deploy: Subject,
  input: File | undefined,
  task: TaskOptions,
): Promise<OutputComparison> {
  const [first, second] = [await openSubject(training), await openSubject(deploy)];
  const given = input && (await readInput(input, graphOf(first)));
  const verification = await verify(first, second, {
    ...task,
    input: given,
    runtime: () => loadRuntime("wasm"),
  });
  const noise = await noiseFloor(verification, {
    ...task,
    input: given,
    runtime: await loadRuntime("wasm"),
  });
  return { verdict: verdictView(verification), noise };
}
