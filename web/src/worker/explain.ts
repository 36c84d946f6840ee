/** @file Why two files differ. */

import type { TaskOptions } from "../../../src/core/task.ts";
import { FILE_CAUSES } from "../../../src/diagnose/file-causes.ts";
import { findCauses } from "../../../src/diagnose/find-causes.ts";
import { type FindingView, findingViews } from "../../../src/report/html/findings-markup.ts";
import { openSubject } from "./open-subject.ts";
import type { Subject } from "./protocol.ts";

export async function explainDifference(
  training: Subject,
  deploy: Subject,
  task: TaskOptions,
): Promise<FindingView[]> {
  const [first, second] = [await openSubject(training), await openSubject(deploy)];
  const { findings } = await findCauses(first, second, task);
  return findingViews(findings, FILE_CAUSES);
}
