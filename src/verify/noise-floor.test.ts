import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { planConversion, writeConversion } from "../convert/conversion.ts";
import { openModelFile } from "../convert/open.ts";
import { memorySink } from "../core/byte-sink.ts";
import { memorySource } from "../core/byte-source.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { noiseFloor } from "./noise-floor.ts";
import { verify } from "./verify.ts";

const example = fileURLToPath(new URL("../../examples/data/repvgg-small.pth", import.meta.url));

/** The float32 result of a sum of n products is off by at most about n·2⁻²⁴; 576 is the example's largest kernel row. */
const ROUNDING_LIMIT = 576 * 2 ** -24;

async function floorOf(target: "pytorch" | "onnx", epsilon?: number) {
  const source = memorySource("train.pth", readFileSync(example));
  const sink = memorySink();
  const shifted = await openModelFile(source, { epsilon });
  await writeConversion(await planConversion(shifted, target), sink);
  const deploy = await openModelFile(memorySource("deploy", sink.bytes()));
  const options = { inputShape: [1, 3, 32, 32], runtime: loadNodeRuntime };
  const verification = await verify(await openModelFile(source), deploy, options);
  return await noiseFloor(verification, { runtime: await loadNodeRuntime() });
}

test.each(["pytorch", "onnx"] as const)(
  "an exact %s deploy form is as near to the truth as rounding",
  async (target) => {
    const points = await floorOf(target);
    // Eight blocks and the output.
    expect(points.map(({ name }) => name)).toEqual([
      ...[
        "stage0",
        "stage1.0",
        "stage2.0",
        "stage2.1",
        "stage3.0",
        "stage3.1",
        "stage3.2",
        "stage4.0",
      ],
      "y",
    ]);
    for (const { training, deploy } of points) {
      expect(training).toBeGreaterThan(0);
      expect(training).toBeLessThan(ROUNDING_LIMIT);
      expect(deploy).toBeLessThan(ROUNDING_LIMIT);
    }
  },
);

test("a wrong epsilon shows from the first block on", async () => {
  for (const { training, deploy } of await floorOf("pytorch", 1e-3)) {
    expect(training).toBeLessThan(ROUNDING_LIMIT);
    expect(deploy).toBeGreaterThan(ROUNDING_LIMIT);
  }
});

test("without a network there is nothing to measure", async () => {
  const file = await openModelFile(memorySource("train.pth", readFileSync(example)));
  const verification = await verify(file, file);
  expect(await noiseFloor(verification, { runtime: await loadNodeRuntime() })).toEqual([]);
});
