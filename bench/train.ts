/**
 * @file Images per second of the MNIST net's training step beside PyTorch's, interleaved; the ratio is what counts.
 * Run: `REPARAM_PYTHON=/path/to/python npx tsx bench/train.ts [--threads 2] [--batch 128] [--rounds 7] [--stem-stride 2]`.
 * Without a Python with torch only our side is measured, and said so.
 */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createMnistModel } from "../examples/mnist-model.ts";
import { createRng } from "../src/core/rng.ts";
import { tensor } from "../src/core/tensor.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import type { Model } from "../src/ir/graph.ts";
import { createStepper } from "../src/train/stepper.ts";

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    batch: { type: "string", default: "128" },
    rounds: { type: "string", default: "7" },
    steps: { type: "string", default: "10" },
    "stem-stride": { type: "string", default: "2" },
  },
});
const [threads, batch, rounds, steps] = [
  values.threads,
  values.batch,
  values.rounds,
  values.steps,
].map(Number) as [number, number, number, number];
const stemStride = Number(values["stem-stride"]);

/** The stem's stride is 2 in a RepVGG; with 1 the net is four times as large to compute. */
function withStemStride(model: Model): Model {
  const input = model.graph.inputs[0]?.name;
  const nodes = model.graph.nodes.map((node) =>
    node.opType === "Conv" && node.inputs[0] === input
      ? {
          ...node,
          attributes: new Map(node.attributes).set("strides", {
            type: "ints",
            value: [stemStride, stemStride],
          }),
        }
      : node,
  );
  return { ...model, graph: { ...model.graph, nodes } };
}

const rng = createRng(1);
const images = Float32Array.from({ length: batch * 784 }, () => rng.normal());
const labels = BigInt64Array.from({ length: batch }, () => BigInt(rng.integer(10)));
const target = tensor("int64", [batch], labels);
const stepper = await createStepper({
  model: withStemStride(createMnistModel(1)),
  runtime: await loadNodeRuntime(),
  threads,
  batch,
  loss: { type: "cross-entropy" },
  optimizer: { type: "sgd" },
});
console.log(
  `ours: ${stepper.graph.layout.parameterCount} parameters, batch ${batch}, ${threads} threads`,
);

async function ours(): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    await stepper.run(images, target, { learningRate: 0.01, step: i + 1, emaDecay: 0 }, {});
  }
  return (performance.now() - start) / 1000;
}

interface Peer {
  seconds(): Promise<number>;
  end(): Promise<number>;
}

async function startTorch(): Promise<Peer | undefined> {
  const python = process.env["REPARAM_PYTHON"];
  if (!python) {
    console.log("PyTorch: not measured, REPARAM_PYTHON is not set");
    return undefined;
  }
  const script = fileURLToPath(new URL("train_torch.py", import.meta.url));
  const child = spawn(python, [script, `${threads}`, `${batch}`, `${stemStride}`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value as string;
  const ask = async (text: string): Promise<number> => {
    child.stdin.write(`${text}\n`);
    return Number(await line());
  };
  const [version, parameters] = (await line()).split(" ");
  console.log(`PyTorch ${version}: ${parameters} parameters`);
  return { seconds: () => ask(`${steps}`), end: () => ask("end") };
}

const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const torch = await startTorch();
await ours();
await torch?.seconds();
const times: { ours: number; torch: number }[] = [];
for (let round = 0; round < rounds; round++) {
  times.push({ ours: await ours(), torch: (await torch?.seconds()) ?? Number.NaN });
}
const perSecond = (seconds: number): string => ((steps * batch) / seconds).toFixed(0);
const best = (list: readonly number[]): number => Math.min(...list);
const [a, b] = [times.map((t) => t.ours), times.map((t) => t.torch)];
console.log(`ours     median ${perSecond(median(a))} images/s, best ${perSecond(best(a))}`);
if (torch) {
  console.log(`PyTorch  median ${perSecond(median(b))} images/s, best ${perSecond(best(b))}`);
  const ratio = median(times.map((t) => t.torch / t.ours));
  console.log(
    `ratio    ${ratio.toFixed(2)} (median of rounds), ${(best(b) / best(a)).toFixed(2)} (best)`,
  );
}
console.log(`peak memory: ours ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
if (torch) console.log(`peak memory: PyTorch ${(await torch.end()).toFixed(0)} MiB`);
await stepper.release();
