import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isReparamError } from "../../core/errors.ts";
import { createRng } from "../../core/rng.ts";
import { openCifar } from "./cifar.ts";
import { openIdx } from "./idx.ts";
import { openImageFolder, randomCrop } from "./image-folder.ts";
import { openDataset } from "./open-dataset.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-data-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const file = async (name: string, bytes: Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, bytes);
  return path;
};

function idx(magic: number, shape: readonly number[], data: readonly number[]): Uint8Array {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(magic, 0);
  for (const [i, n] of shape.entries()) header.writeUInt32BE(n, 4 + 4 * i);
  return Buffer.concat([header, Buffer.from(data)]);
}

describe("MNIST idx", () => {
  const images = idx(0x803, [2, 2, 3], [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
  const labels = idx(0x801, [2], [3, 0]);

  test("reads images and labels, packed or not", async () => {
    const plain = await openIdx(await file("a-images", images), await file("a-labels", labels));
    const packed = await openIdx(
      await file("b-images.gz", gzipSync(images)),
      await file("b-labels", labels),
    );
    for (const dataset of [plain, packed]) {
      expect([dataset.size, dataset.shape, dataset.classCount]).toEqual([2, [1, 2, 3], 4]);
      const sample = await dataset.load(1);
      expect([[...sample!.image], sample!.label]).toEqual([[10, 11, 12, 13, 14, 15], 0]);
    }
  });

  test.each([
    [
      "another magic",
      idx(0x802, [2, 2, 3], Array(12).fill(0)),
      labels,
      "begins with 0x00000802, expected 0x00000803",
    ],
    ["a truncated file", images.slice(0, 20), labels, "20 bytes, expected 28 for [2, 2, 3]"],
    ["no whole header", images.slice(0, 10), labels, "10 bytes, expected an idx header of 16"],
    ["a hostile count", idx(0x803, [0xffffffff, 28, 28], []), labels, "expected 3367254359296 for"],
    [
      "a hostile size",
      idx(0x803, [1, 2048, 1], Array(2048).fill(0)),
      labels,
      "images are 2048 × 1",
    ],
    ["other labels", images, idx(0x801, [3], [1, 2, 3]), "it has 3 labels, expected 2"],
    ["broken gzip", Uint8Array.of(0x1f, 0x8b, 8, 0), labels, "not a sound gzip file"],
  ])("refuses %s", async (_, a, b, message) => {
    const opened = openIdx(await file("c-images", a), await file("c-labels", b));
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toSatisfy((error: unknown) => isReparamError(error, "bad-data"));
  });

  test("mutated files only ever give our errors or a data set", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(images.length - 1), fc.nat(255), async (at, value) => {
        const bytes = Uint8Array.from(images);
        bytes[at] = value;
        await openIdx(await file("d-images", bytes), await file("d-labels", labels)).catch(
          (error) => {
            if (!isReparamError(error)) throw error;
          },
        );
      }),
      { seed: 20_261_123, numRuns: 100 },
    );
  });
});

describe("CIFAR binary", () => {
  const record = (labels: readonly number[], fill: number): Buffer =>
    Buffer.concat([Buffer.from(labels), Buffer.alloc(3072, fill)]);

  test("CIFAR-10 has one label, CIFAR-100 two, of which the fine one counts", async () => {
    const ten = await openCifar(
      [await file("ten.bin", Buffer.concat([record([7], 1), record([2], 9)]))],
      10,
    );
    expect(ten.size).toBe(2);
    expect((await ten.load(1))!.label).toBe(2);
    expect((await ten.load(1))!.image[3071]).toBe(9);
    const hundred = await openCifar([await file("hundred.bin", record([7, 55], 4))], 100);
    expect((await hundred.load(0))!.label).toBe(55);
    expect((await hundred.load(0))!.image).toHaveLength(3072);
  });

  test("refuses other lengths and labels", async () => {
    const short = await file("short.bin", Buffer.alloc(3072));
    await expect(openCifar([short], 10)).rejects.toThrow(
      "3072 bytes, expected a multiple of the 3073",
    );
    const label = await file("label.bin", record([10], 0));
    await expect(openCifar([label], 10)).rejects.toThrow(
      "record 0 has label 10, expected below 10",
    );
  });
});

describe("image folders", () => {
  const png = (
    colour: { r: number; g: number; b: number },
    width = 40,
    height = 30,
  ): Promise<Buffer> =>
    sharp({ create: { width, height, channels: 3, background: colour } })
      .png()
      .toBuffer();

  beforeAll(async () => {
    const [red, blue] = [await png({ r: 255, g: 0, b: 0 }), await png({ r: 0, g: 0, b: 200 })];
    await file("set/train/cat/1.png", red);
    await file("set/train/cat/broken.jpg", Buffer.from("not an image"));
    await file("set/train/cat/notes.txt", Buffer.from("ignored"));
    await file("set/train/dog/1.png", blue);
    await file("set/val/cat/1.png", red);
    await file("set/val/dog/1.png", blue);
    const grey = sharp({
      create: { width: 20, height: 20, channels: 3, background: { r: 90, g: 90, b: 90 } },
    });
    await file("grey/one/grey.png", await grey.greyscale().png().toBuffer());
    await file("empty/full/1.png", red);
    await mkdir(join(folder, "empty/hollow"), { recursive: true });
  });

  test("classes in alphabetical order, planes, sizes, broken files as undefined", async () => {
    const { kind, training, validation } = await openDataset(join(folder, "set"), { imageSize: 8 });
    expect([kind, training.size, training.classCount, validation?.size]).toEqual([
      "folders",
      3,
      2,
      2,
    ]);
    expect(training.shape).toEqual([3, 8, 8]);
    for (const rng of [undefined, createRng(1)]) {
      const dog = await training.load(2, rng);
      expect(dog!.label).toBe(1);
      expect([dog!.image[0], dog!.image[64], dog!.image[128]]).toEqual([0, 0, 200]);
    }
    expect(training.sampleName(1)).toMatch(/broken\.jpg$/);
    expect(await training.load(1)).toBeUndefined();
  });

  test("grey images have three channels", async () => {
    const dataset = await openImageFolder(join(folder, "grey"), { imageSize: 4 });
    const sample = await dataset.load(0);
    expect([...new Set(sample!.image)]).toEqual([90]);
    expect(sample!.image).toHaveLength(48);
  });

  test("an empty class, no classes, no folder, other classes in the other split", async () => {
    await expect(openImageFolder(join(folder, "empty"))).rejects.toThrow(
      /hollow: the class has no images/,
    );
    await expect(openImageFolder(join(folder, "empty/full"))).rejects.toThrow("it has no folders");
    await expect(openImageFolder(join(folder, "nowhere"))).rejects.toSatisfy((e: unknown) =>
      isReparamError(e, "not-found"),
    );
    await file("odd/train/a/1.png", await png({ r: 1, g: 1, b: 1 }));
    await file("odd/val/b/1.png", await png({ r: 1, g: 1, b: 1 }));
    await expect(openDataset(join(folder, "odd"))).rejects.toThrow("only one of them has a");
  });

  test("random crops lie inside the image", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 500 }),
        fc.integer(),
        (w, h, seed) => {
          const crop = randomCrop(w, h, 0.08, createRng(seed));
          expect(crop.left).toBeGreaterThanOrEqual(0);
          expect(crop.top).toBeGreaterThanOrEqual(0);
          expect(crop.width).toBeGreaterThan(0);
          expect(crop.height).toBeGreaterThan(0);
          expect(crop.left + crop.width).toBeLessThanOrEqual(w);
          expect(crop.top + crop.height).toBeLessThanOrEqual(h);
        },
      ),
      { seed: 20_261_123 },
    );
  });
});
