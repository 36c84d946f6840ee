import { expect, test } from "vitest";
import { checkpointFile, deployState, repVggNet } from "../../test/support/diagnosis-nets.ts";
import { INJECTIONS } from "../../test/support/inject.ts";
import { plainFuse } from "../../test/support/plain-fuse.ts";
import { createRng } from "../core/rng.ts";
import { CAUSES } from "../diagnose/causes.ts";
import { type Diagnosis, diagnose } from "../diagnose/diagnose.ts";
import { diagnosisJson } from "./diagnosis-json.ts";
import { diagnosisText } from "./diagnosis-text.ts";

async function diagnosed(cause: string | undefined): Promise<Diagnosis> {
  const net = await repVggNet("grouped", 2);
  const fault = INJECTIONS.find((entry) => entry.cause === cause);
  const state = deployState(net, (block) =>
    fault && block.prefix === "stage1.1" ? fault.apply(block, createRng(1), net) : plainFuse(block),
  );
  return diagnose(checkpointFile("t", net.state), checkpointFile("d", state));
}

const files = {
  training: { path: "t.pth", sizeBytes: 1000 },
  deploy: { path: "d.pth", sizeBytes: 500 },
};

test("a fault is told with its block, its proof, what to do and where to read on", async () => {
  const lines = diagnosisText({ ...files, diagnosis: await diagnosed("identity-missing") }, CAUSES);
  const text = lines.join("\n");
  expect(text).toContain("1. The identity branch is missing  proved");
  expect(text).toContain("   rbr_identity\n   in stage1.1");
  expect(text).toMatch(/ω falls from \S+ to 0\.\d+ \(limit \d+\)/);
  expect(text).toContain("docs/causes.md#identity-missing");
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
});

test("a right conversion says so", async () => {
  const text = diagnosisText({ ...files, diagnosis: await diagnosed(undefined) }, CAUSES).join(
    "\n",
  );
  expect(text).toContain("No fault was found");
  expect(text).toContain("branches cancel");
});

test("what is only consistent shows what is known", async () => {
  const text = diagnosisText(
    { ...files, diagnosis: await diagnosed("other-training-state") },
    CAUSES,
  ).join("\n");
  expect(text).toContain("consistent");
  expect(text).toMatch(/Known: omega .*ring .*centre .*bias/s);
});

test("the JSON document", async () => {
  const document = diagnosisJson({ ...files, diagnosis: await diagnosed("bn-epsilon") });
  expect(document).toMatchObject({
    schema: "reparam.diagnose/1",
    training: files.training,
    verdict: { word: "DIFFERENT" },
    blocks: { total: 10, differing: ["stage1.1"] },
    findings: [
      {
        cause: "bn-epsilon",
        blocks: ["stage1.1"],
        confidence: "proved",
        evidence: { deployEpsilon: 1e-3, modelEpsilon: 1e-5 },
        effect: null,
        anchor: "docs/causes.md#bn-epsilon",
      },
    ],
    numerics: { matters: null },
  });
});
