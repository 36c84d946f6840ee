/**
 * @file DingXiaoH/RepVGG issue 23: after inserting RepVGG blocks, "the difference before and after fusion is fine on a
 * 10 MFLOP model and far off on a 2 GFLOP one". Two initialisations of batch normalization, on one block and on a whole
 * net: the absolute difference changes by many orders of magnitude, the relative one and the verdict do not.
 *
 * Run: `npx tsx examples/issue-23.ts [NET] [SIZE]`, NET a published RepVGG (default RepVGG-B2g4) or `small`, SIZE the
 * side of the image (default 224). docs/verify.md explains the output.
 */

import {
  type CheckpointFile,
  createRepVgg,
  memorySink,
  memorySource,
  openModelFile,
  planConversion,
  type RepVggArch,
  repVggArch,
  type StateDict,
  type Statistics,
  type Verification,
  verify,
  writeConversion,
  writePytorch,
} from "../src/index.ts";
import { loadNodeRuntime } from "../src/node.ts";
import { singleBlockModel } from "./single-block.ts";

/** Small enough for the tests: 9 blocks, 8 to 32 channels. */
const SMALL: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 8,
  stageBlocks: [2, 2, 3, 1],
  stageWidths: [8, 16, 24, 32],
  groups: [1, 1, 2, 1, 2, 1, 2, 1, 1],
  classes: 10,
  se: "none",
  auxHeads: false,
};

const INITIALISATIONS: readonly { readonly label: string; readonly statistics: Statistics }[] = [
  { label: "γ = 1, β = 0", statistics: "gamma1" },
  { label: "γ = β = 0.01", statistics: "gamma001" },
];

export interface Row {
  readonly net: string;
  readonly initialisation: string;
  readonly result: Verification;
}

/** Verifies the conversion of both nets with both initialisations. */
export async function compareInitialisations(
  name: string,
  size: number,
  replicas: number,
): Promise<Row[]> {
  const arch = name === "small" ? SMALL : repVggArch(name);
  const rows: Row[] = [];
  for (const { label, statistics } of INITIALISATIONS) {
    const block = singleBlockModel(statistics === "gamma1" ? [1, 0] : [0.01, 0.01]);
    const fused = await planConversion(block, "onnx");
    const options = { runtime: loadNodeRuntime, replicas };
    const deployBlock = { ...block, name: "deploy", model: fused.model! };
    rows.push({
      net: "one block, 32 → 64, 8 groups",
      initialisation: label,
      result: await verify(block, deployBlock, { ...options, inputShape: [1, 32, 56, 56] }),
    });
    const training = await checkpoint(createRepVgg(arch, "training", { seed: 1, statistics }));
    const sink = memorySink();
    await writeConversion(await planConversion(training, "pytorch"), sink);
    const deploy = await openModelFile(memorySource("deploy.pth", sink.bytes()));
    rows.push({
      net: arch.name ?? name,
      initialisation: label,
      result: await verify(training, deploy, { ...options, inputShape: [1, 3, size, size] }),
    });
  }
  return rows.sort(
    (a, b) => Number(a.net === (arch.name ?? name)) - Number(b.net === (arch.name ?? name)),
  );
}

async function checkpoint(state: StateDict): Promise<CheckpointFile> {
  const sink = memorySink();
  await writePytorch(
    [...state.tensors].map(([name, tensor]) => ({ name, tensor })),
    sink,
  );
  const file = await openModelFile(memorySource("train.pth", sink.bytes()));
  if (file.kind !== "checkpoint") throw new Error("a .pth file is a checkpoint");
  return file;
}

/** The table that is printed, one line per row. */
export function issueTable(rows: readonly Row[]): string[] {
  const head = [
    "net",
    "batch norm",
    "max |y|",
    "L2",
    "allclose 1e-8",
    "relative L2",
    "noise floor",
    "ω",
    "verdict",
  ];
  const lines = rows.map(({ net, initialisation, result }) => {
    const output = result.whole!.outputs[0]!;
    const { metrics } = output;
    return [
      net,
      initialisation,
      metrics.maxAbs.toExponential(1),
      metrics.l2.toExponential(1),
      metrics.allclose1e8 ? "yes" : "no",
      metrics.relativeL2.toExponential(1),
      output.noiseFloor.toExponential(1),
      result.weights.maxOmega.toFixed(3),
      result.verdict.word,
    ];
  });
  const widths = head.map((text, i) =>
    Math.max(text.length, ...lines.map((line) => line[i]!.length)),
  );
  return [head, ...lines].map((line) =>
    line
      .map((text, i) => text.padEnd(widths[i]!))
      .join("  ")
      .trimEnd(),
  );
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [name = "RepVGG-B2g4", size = "224"] = process.argv.slice(2);
  const rows = await compareInitialisations(name, Number(size), 19);
  console.log(issueTable(rows).join("\n"));
}
