/**
 * @file Every cause of the fault-injection table in one block of three nets: the diagnosis names the block and the
 * cause, and nothing else. The confusion matrix is printed and must be diagonal.
 */

import { afterAll, expect, test } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { createConfusion } from "../support/confusion.ts";
import {
  checkpointFile,
  DIAGNOSIS_NETS,
  deployState,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import { INJECTIONS } from "../support/inject.ts";
import { plainFuse } from "../support/plain-fuse.ts";

const SEEDS = [11, 12];

const confusion = createConfusion("blocks");
afterAll(confusion.print);

test.each(
  Object.keys(DIAGNOSIS_NETS).flatMap((name) => SEEDS.map((seed) => [name, seed] as const)),
)(
  "%s, seed %i: every injected fault is named, in its block, and nothing else",
  async (name, seed) => {
    const net = await DIAGNOSIS_NETS[name]!(seed);
    const training = checkpointFile("train.pth", net.state);
    const wrong: string[] = [];
    let cases = 0;
    for (const injection of INJECTIONS) {
      const rng = createRng(seed * 7 + 1);
      const eligible = net.blocks.filter((block) => injection.fits(block, net));
      const block = eligible[Math.floor(rng.next() * eligible.length)];
      if (!block) continue;
      const state = deployState(net, (each) =>
        each === block ? injection.apply(each, rng, net) : plainFuse(each),
      );
      const { findings } = await diagnose(training, checkpointFile("deploy.pth", state), {
        numerics: false,
      });
      confusion.add(
        injection.cause,
        findings.map(({ cause }) => cause),
      );
      const expected = `${injection.cause} at ${block.prefix}, ${injection.confidence ?? "proved"}`;
      const found = findings
        .map(({ cause, blocks, confidence }) => `${cause} at ${blocks.join()}, ${confidence}`)
        .join("; ");
      if (found !== expected) wrong.push(`${injection.name}: ${found}, expected ${expected}`);
      cases++;
    }
    expect(wrong).toEqual([]);
    // The table must not shrink to what is easy: at least this many entries fit every net.
    expect(cases).toBeGreaterThan(30);
  },
);

test("a fault in every block is one finding with all blocks", async () => {
  const net = await repVggNet("a0-like", 4);
  const everywhere = INJECTIONS.find(
    ({ cause, name }) => cause === "bn-epsilon" && /1e-3/.test(name),
  )!;
  const state = deployState(net, (block) => everywhere.apply(block, createRng(1), net));
  const { findings, verification } = await diagnose(
    checkpointFile("train.pth", net.state),
    checkpointFile("deploy.pth", state),
    { numerics: false },
  );
  expect(verification.verdict.word).toBe("DIFFERENT");
  expect(findings).toHaveLength(1);
  expect(findings[0]).toMatchObject({
    cause: "bn-epsilon",
    detail: "deploy used 1e-3, the model says 1e-5",
    confidence: "proved",
    evidence: { deployEpsilon: 1e-3, modelEpsilon: 1e-5 },
  });
  expect(findings[0]!.blocks).toHaveLength(22);
});
