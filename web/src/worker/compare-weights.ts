/** @file Compares the weights of two files: quick, whatever the networks cost to run. */

import type { TaskOptions } from "../../../src/core/task.ts";
import { type VerdictView, verdictView } from "../../../src/report/html/verdict-view.ts";
import { verify } from "../../../src/verify/verify.ts";
import { openSubject } from "./open-subject.ts";
import type { Subject } from "./protocol.ts";

export async function compareWeights(
  training: Subject,
  deploy: Subject,
  task: TaskOptions,
): Promise<VerdictView> {
  const [first, second] = [await openSubject(training), await openSubject(deploy)];
  return verdictView(await verify(first, second, task));
}
