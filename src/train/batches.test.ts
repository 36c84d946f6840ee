import { expect, test } from "vitest";
import { createRng } from "../core/rng.ts";
import { writeSample } from "./augment.ts";
import { batches, shuffledOrder } from "./batches.ts";
import { memoryDataset } from "./dataset.ts";
import { learningRateAt } from "./schedule.ts";

const normalization = { mean: [0.5], std: [0.25] };

test("pixels become (v/255 − mean)/std; outside the image is black", () => {
  const into = new Float32Array(4);
  const sample = { image: Uint8Array.of(0, 255, 51, 102), label: 0 };
  writeSample(into, 0, sample, [1, 2, 2], normalization, {}, undefined);
  expect([...into]).toEqual([-2, 2, -1.2, -0.4].map(Math.fround)); // (0 − .5)/.25, (1 − .5)/.25, (.2 − .5)/.25, …
});

test("crops move the image by at most the padding, flips mirror it, and both follow the seed", () => {
  const image = Float32Array.from({ length: 16 }, (_, i) => i + 1);
  const unit = { mean: [0], std: [1] };
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const [a, b] = [new Float32Array(16), new Float32Array(16)];
    const augment = { cropPadding: 1, flip: true };
    writeSample(a, 0, { image, label: 0 }, [1, 4, 4], unit, augment, createRng(seed));
    writeSample(b, 0, { image, label: 0 }, [1, 4, 4], unit, augment, createRng(seed));
    expect(b).toEqual(a);
    seen.add(a.join());
    // every pixel is one of the image's or black, and the middle 2 × 2 is always inside
    expect([a[5], a[6], a[9], a[10]].every((v) => v! > 0)).toBe(true);
  }
  expect(seen.size).toBe(18); // 3 × 3 places, mirrored or not
});

test("every epoch has every sample once, in its own order", () => {
  const [a, b] = [shuffledOrder(100, 1), shuffledOrder(100, 2)];
  expect([...a].sort((x, y) => x - y)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect([...a]).not.toEqual([...b]);
  expect([...shuffledOrder(100, 1)]).toEqual([...a]);
});

test("evaluation keeps the order and the last incomplete batch", async () => {
  const samples = Array.from({ length: 5 }, (_, label) => ({ image: Uint8Array.of(label), label }));
  const dataset = memoryDataset("five", [1, 1, 1], 5, samples);
  const seen: number[][] = [];
  for await (const { labels, count } of batches({ dataset, batch: 2, normalization })) {
    seen.push(Array.from(labels.subarray(0, count), Number));
  }
  expect(seen).toEqual([[0, 1], [2, 3], [4]]);
});

test("the learning rate rises linearly, then falls as a cosine", () => {
  const options = { learningRate: 1, warmupEpochs: 1, finalRate: 0.2 };
  const at = (step: number): number => learningRateAt(options, step, 4, 12);
  expect([at(0), at(1), at(3)]).toEqual([0.25, 0.5, 1]);
  expect(at(4)).toBe(1); // the cosine begins
  expect(at(8)).toBeCloseTo(0.6, 12); // half way: (1 + 0.2)/2
  expect(learningRateAt({ learningRate: 1 }, 12, 4, 12)).toBeCloseTo(0, 12);
  expect(learningRateAt({ learningRate: 0.3, shape: "constant" }, 7, 4, 12)).toBe(0.3);
});
