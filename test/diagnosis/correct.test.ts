/**
 * @file No false alarm: correct conversions give no finding. Folded in float64, in float32 in two orders, and by PyTorch
 * in the origin projects' own code; the one origin that is wrong gets its true cause.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { openModelFile, type ReadingOptions } from "../../src/convert/open.ts";
import { memorySource } from "../../src/core/byte-source.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { type Diagnosis, diagnose } from "../../src/diagnose/diagnose.ts";
import { goldenFindings } from "../../src/diagnose/golden-level.ts";
import { readNpy } from "../../src/formats/npy/read-npy.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import { askedFamily } from "../asked-families.ts";
import { dataFolder } from "../data-folder.ts";
import { checkpointFile, deployState, mobileOneNet, repVggNet } from "../support/diagnosis-nets.ts";
import { plainFuse } from "../support/plain-fuse.ts";

const folder = dataFolder();
if (folder === undefined)
  console.log("diagnosis of real pairs: not run, no data folder (REPARAM_DATA)");

test.each(["float64", "float32", "float32-reversed"] as const)(
  "folded in %s: no finding",
  async (order) => {
    for (const seed of [1, 2, 3]) {
      for (const net of [
        await repVggNet("a0-like", seed),
        await repVggNet("grouped", seed),
        await mobileOneNet(seed),
      ]) {
        const state = deployState(net, (block) => plainFuse(block, order));
        const { findings, verification } = await diagnose(
          checkpointFile("train.pth", net.state),
          checkpointFile("deploy.pth", state),
        );
        expect(findings, `${net.name} ${seed}`).toEqual([]);
        const word = order === "float64" ? "EXACT-FOLD" : "EQUAL-UP-TO-ROUNDING";
        expect(verification.verdict.word).toBe(word);
      }
    }
  },
);

async function diagnoseFiles(
  train: string,
  deploy: string,
  options: ReadingOptions = {},
): Promise<Diagnosis> {
  const open = (path: string, reading: ReadingOptions) =>
    openModelFile(memorySource(basename(path), readFileSync(path)), reading);
  return diagnose(await open(train, options), await open(deploy, {}), { numerics: false });
}

const own = fileURLToPath(new URL("../fixtures", import.meta.url));

function casesIn(root: string): string[] {
  return readdirSync(root).filter((name) =>
    ["train.pth", "deploy.pth"].every((file) => existsSync(join(root, name, file))),
  );
}

test.each(casesIn(own))("PyTorch's own deploy form of %s: no finding", async (name) => {
  const key = name === "wrapper-ddp-ema" ? { key: "state_dict" } : {};
  const { findings } = await diagnoseFiles(
    join(own, name, "train.pth"),
    join(own, name, "deploy.pth"),
    key,
  );
  expect(findings).toEqual([]);
});

describe.skipIf(folder === undefined)("real pairs", () => {
  const root = join(folder ?? "", "fixtures");
  const cases = folder === undefined ? [] : casesIn(root);

  test.each(cases)("%s: no finding", async (name) => {
    const about = JSON.parse(readFileSync(join(root, name, "case.json"), "utf8")) as {
      bn_eps?: number;
    };
    const { findings } = await diagnoseFiles(
      join(root, name, "train.pth"),
      join(root, name, "deploy.pth"),
      {
        epsilon: about.bn_eps,
        family: askedFamily(name),
      },
    );
    expect(findings).toEqual([]);
  });

  // PyTorch sums in orders of its own: the bound on recorded outputs was derived, and holds for outputs it never saw.
  test.each(["repvgg-372", "repvgg-se", "dbb", "timm-mobileone", "zcls-insert-small-calibrated"])(
    "what PyTorch computed for %s in both forms is explained as it is",
    async (name) => {
      const at = (file: string) => memorySource(file, readFileSync(join(root, name, file)));
      const tensorOf = async (file: string): Promise<Tensor> => {
        const { dtype, shape, read } = await readNpy(at(file));
        return { dtype, shape, bytes: await read() };
      };
      const onnx = readdirSync(join(root, name)).find((file) => /^train.*\.onnx$/.test(file))!;
      const file = await openModelFile(at(onnx));
      if (file.kind !== "onnx") throw new Error("expected a graph");
      const runtime = await loadNodeRuntime();
      const input = await tensorOf("x.npy");
      for (const recorded of ["y_train_f32.npy", "y_deploy_f32.npy"]) {
        const golden = { input, expected: await tensorOf(recorded) };
        expect(await goldenFindings(file.model, undefined, golden, runtime, {})).toEqual([]);
      }
    },
  );

  test("yolov7's own fuse of grouped blocks: the identity of the first group only", async () => {
    const at = (file: string): string => join(root, "yolov7-repconv-grouped", file);
    const { findings } = await diagnoseFiles(at("train.pth"), at("deploy-origin-fuse.pth"), {
      epsilon: 1e-3,
    });
    expect(findings.map(({ cause, confidence }) => [cause, confidence])).toEqual([
      ["grouped-identity", "proved"],
    ]);
  });

  test("a block of QARepVGG's second version read as the first: the average pool without keys", async () => {
    const at = (file: string): string => join(root, "qarepvgg-yolov6", file);
    const { findings } = await diagnoseFiles(at("train.pth"), at("deploy.pth"), {
      epsilon: 1e-3,
      family: "qarepvgg",
    });
    expect(findings.map(({ cause, detail }) => [cause, detail])).toEqual([
      ["branch-extra", "the average over the kernel's window"],
    ]);
  });

  test("the authors' own pair of RVSR: no finding", async () => {
    const at = (file: string): string => join(folder ?? "", "real", "huai-chang+RVSR", file);
    const { findings, verification } = await diagnoseFiles(
      at("pretrained.ckpt"),
      at("RVSR_rep.pth"),
    );
    expect(findings).toEqual([]);
    expect(verification.verdict.word).toBe("EQUAL-UP-TO-ROUNDING");
  });
});
