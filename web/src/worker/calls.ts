/** @file The worker's calls by name. What is not needed to read and convert a file is loaded when it is asked for. */

import type { TaskOptions } from "../../../src/core/task.ts";
import { compareWeights } from "./compare-weights.ts";
import { convertSubject } from "./convert.ts";
import { describeBlock } from "./describe-block.ts";
import { drawNet } from "./draw-net.ts";
import { inspectSubject } from "./inspect.ts";
import type { CallName, Calls } from "./protocol.ts";
import { readCurve } from "./read-curve.ts";

type Answers = {
  readonly [Name in CallName]: (
    params: Calls[Name]["params"],
    task: TaskOptions,
  ) => Promise<Calls[Name]["result"]>;
};

export const CALLS: Answers = {
  inspect: ({ subject }, task) => inspectSubject(subject, task),
  convert: ({ subject, target }, task) => convertSubject(subject, target, task),
  net: ({ subject }, task) => drawNet(subject, task),
  block: ({ subject, name }, task) => describeBlock(subject, name, task),
  weights: ({ training, deploy }, task) => compareWeights(training, deploy, task),
  findings: async ({ training, deploy }, task) =>
    (await import("./explain.ts")).explainDifference(training, deploy, task),
  outputs: async ({ training, deploy, input }, task) =>
    (await import("./compare-outputs.ts")).compareOutputs(training, deploy, input, task),
  race: async (params, task) => (await import("./race.ts")).race(params, task),
  curve: ({ file }, task) => readCurve(file, task),
};
