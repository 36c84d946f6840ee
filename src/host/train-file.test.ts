import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TINY_ARCH, tinyDataset } from "../../test/support/tiny-net.ts";
import { readTensor, type StateDict } from "../core/tensor.ts";
import { createRepVgg, type RepVggArch } from "../zoo/nets/index.ts";
import { openModelPath } from "./open-model.ts";
import { trainFile } from "./train-file.ts";

let folder = "";
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "reparam-train-file-"));
  const dataset = tinyDataset(48);
  const header = (magic: number, ...sizes: number[]): Uint8Array => {
    const bytes = new DataView(new ArrayBuffer(4 + 4 * sizes.length));
    for (const [i, value] of [magic, ...sizes].entries()) bytes.setUint32(4 * i, value);
    return new Uint8Array(bytes.buffer);
  };
  const samples = await Promise.all(Array.from({ length: 48 }, (_, i) => dataset.load(i)));
  const images = samples.flatMap((sample) => [...(sample?.image ?? [])]);
  const labels = samples.map((sample) => sample?.label ?? 0);
  const write = (name: string, ...parts: Iterable<number>[]): void =>
    writeFileSync(join(folder, name), Uint8Array.from(parts.flatMap((part) => [...part])));
  write("train-images-idx3-ubyte", header(0x803, 48, 16, 16), images);
  write("train-labels-idx1-ubyte", header(0x801, 48), labels);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function bytesOf(state: StateDict, name: string): Promise<number[]> {
  const { bytes } = await readTensor(state.tensors.get(name)!);
  return [...bytes];
}

test("auxiliary heads are not trained and stay in the checkpoint, bit by bit, in its order", async () => {
  const arch: RepVggArch = { ...TINY_ARCH, layout: "repvggplus", auxHeads: true };
  const start = createRepVgg(arch, "training", { seed: 4, statistics: "fresh" });
  const aux = [...start.tensors.keys()].filter((name) => name.includes("_aux"));
  expect(aux.length).toBeGreaterThan(0);
  const outPath = join(folder, "plus.pth");
  const result = await trainFile({
    net: () => arch,
    dataFolder: folder,
    outPath,
    epochs: 1,
    batch: 16,
    schedule: { learningRate: 0.05 },
    threads: 1,
    seed: 4,
  });
  expect(result.verification.verdict.word).toBe("EXACT-FOLD");
  const { file, close } = await openModelPath(outPath);
  try {
    if (file.kind !== "checkpoint") throw new Error("expected a checkpoint");
    expect([...file.state.tensors.keys()]).toEqual([...start.tensors.keys()]);
    for (const name of aux)
      expect(await bytesOf(file.state, name), name).toEqual(await bytesOf(start, name));
    expect(await bytesOf(file.state, "linear.weight")).not.toEqual(
      await bytesOf(start, "linear.weight"),
    );
  } finally {
    await close();
  }
});
