/** @file Every cause of the graph level in three nets: named in its place, and nothing else. */

import { afterAll, expect, test } from "vitest";
import type { ModelFile } from "../../src/convert/open.ts";
import { createRng } from "../../src/core/rng.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import type { Model } from "../../src/ir/graph.ts";
import { createConfusion } from "../support/confusion.ts";
import { graphNet } from "../support/diagnosis-graphs.ts";
import { DIAGNOSIS_NETS } from "../support/diagnosis-nets.ts";
import { GRAPH_FAULTS } from "../support/graph-faults.ts";

const SEEDS = [21, 22];
/** Five blocks halve the map: 4 × 4 are left for a window of 5. */
const SIZE = 64;

const confusion = createConfusion("graphs");
afterAll(confusion.print);

function onnx(name: string, model: Model): ModelFile {
  return { kind: "onnx", name, model, reading: {} };
}

test.each(
  Object.keys(DIAGNOSIS_NETS).flatMap((name) => SEEDS.map((seed) => [name, seed] as const)),
)("%s, seed %i: every fault of the graph is named, and nothing else", async (name, seed) => {
  const net = await graphNet(await DIAGNOSIS_NETS[name]!(seed), seed, SIZE);
  const said = async (training: Model, deploy: Model) =>
    (
      await diagnose(onnx("train.onnx", training), onnx("deploy.onnx", deploy), {
        numerics: false,
      })
    ).findings;
  expect(await said(net.training, net.deploy)).toEqual([]);
  const rng = createRng(seed);
  const wrong: string[] = [];
  for (const fault of GRAPH_FAULTS) {
    const made = await fault.apply(net, (count) => Math.floor(rng.next() * count));
    if (!made) continue;
    const findings = await said(made.training, made.deploy);
    confusion.add(
      fault.cause,
      findings.map(({ cause }) => cause),
    );
    const found = findings.map(({ cause, confidence }) => `${cause} ${confidence}`).join("; ");
    if (found !== `${fault.cause} proved`)
      wrong.push(`${fault.cause} ${fault.name}: ${found} ${findings.map((f) => f.detail)}`);
  }
  expect(wrong).toEqual([]);
});
