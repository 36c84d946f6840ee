/**
 * @file Every cause of the fault-injection table in one block of three nets: the diagnosis names the block and the
 * cause, and nothing else. The confusion matrix is printed and must be diagonal.
 */

import { afterAll, expect, test } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import type { CauseId } from "../../src/diagnose/causes.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import {
  checkpointFile,
  type DiagnosisNet,
  deployState,
  mobileOneNet,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import { INJECTIONS } from "../support/inject.ts";
import { plainFuse } from "../support/plain-fuse.ts";

const NETS: Readonly<Record<string, (seed: number) => Promise<DiagnosisNet>>> = {
  "22 blocks, as A0": (seed) => repVggNet("a0-like", seed),
  grouped: (seed) => repVggNet("grouped", seed),
  "MobileOne blocks": mobileOneNet,
};
const SEEDS = [11, 12];

const confusion = new Map<CauseId, Map<string, number>>();

afterAll(() => {
  const off = [...confusion].flatMap(([cause, row]) =>
    [...row]
      .filter(([answer]) => answer !== cause)
      .map(([answer, n]) => `${cause} → ${answer} ${n}×`),
  );
  const right = [...confusion].map(([cause, row]) => `${cause} ${row.get(cause) ?? 0}`);
  console.log(
    `diagnosis, injected → answered: diagonal ${right.join(", ")}; off it: ${off.join(", ") || "none"}`,
  );
});

test.each(Object.keys(NETS).flatMap((name) => SEEDS.map((seed) => [name, seed] as const)))(
  "%s, seed %i: every injected fault is named, in its block, and nothing else",
  async (name, seed) => {
    const net = await NETS[name]!(seed);
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
      const row = confusion.get(injection.cause) ?? new Map<string, number>();
      const answer = findings.map(({ cause }) => cause).join(" + ") || "nothing";
      confusion.set(injection.cause, row.set(answer, (row.get(answer) ?? 0) + 1));
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
