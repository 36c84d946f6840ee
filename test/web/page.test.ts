/** @file The page as people use it: dropping files, converting, comparing, bad input, other hosts. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type PageServer, servePage } from "../../src/cli/page-server.ts";
import { dataFolder } from "../data-folder.ts";
import {
  type DroppedFile,
  downloadBy,
  dropFiles,
  launchBrowser,
  openPage,
  pageFolder,
  plainHost,
  type WatchedPage,
} from "./browser.ts";
import { converted, messageFor, trainingOnnx, trainingPth, trainingSafetensors } from "./files.ts";

let browser: Browser;
let server: PageServer;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  server = await servePage(pageFolder, 0);
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

beforeEach(async () => {
  watched = await openPage(browser, server.url);
  page = watched.page;
});

afterEach(async () => {
  await watched.finish();
});

const deployPth = async (epsilon?: number): Promise<DroppedFile> => ({
  name: "deploy.pth",
  bytes: await converted(trainingPth, "pytorch", epsilon),
});

describe("the first paint", () => {
  test("loads neither the worker nor the runtime", async () => {
    await page.getByText("Drop files anywhere").waitFor();
    const names = watched.requests.map((url) => new URL(url).pathname.split("/").at(-1));
    expect(names.filter((name) => /main|running|explain|ort|wasm|pth/.test(name ?? ""))).toEqual(
      [],
    );
  });
});

describe("one file", () => {
  test.each([
    ["pth", async () => trainingPth, ["pytorch", "safetensors", "onnx"]],
    ["safetensors", trainingSafetensors, ["pytorch", "safetensors", "onnx"]],
    ["onnx", trainingOnnx, ["onnx"]],
  ] as const)(
    "a %s file is described, and converted to the library's bytes",
    async (_, make, targets) => {
      const file = await make();
      await dropFiles(page, [file]);
      await page.getByText("training form, with branches").waitFor();
      await page
        .getByRole("button", { name: /stage0 3×3/ })
        .first()
        .waitFor();
      for (const target of targets) {
        const ending = target === "pytorch" ? ".pth" : `.${target}`;
        await page.getByRole("button", { name: `Convert to ${ending}` }).click();
        const name = `repvgg-small-deploy${ending}`;
        await page.getByRole("button", { name: `Download ${name}` }).waitFor();
        await page.getByText("EXACT-FOLD").waitFor();
        const download = await downloadBy(page, `Download ${name}`);
        expect(download.name).toBe(name);
        const expected = await converted(file, target);
        expect(Buffer.compare(download.bytes, expected)).toBe(0);
      }
    },
  );

  const wrapped = dataFolder();
  test.skipIf(wrapped === undefined)(
    "a file with two state dicts asks which is meant",
    async () => {
      const path = join(wrapped!, "fixtures", "wrappers", "model-ema.pth");
      await dropFiles(page, [{ name: "model-ema.pth", bytes: readFileSync(path) }]);
      await page.getByText("This file holds several sets of weights").waitFor();
      await page.getByRole("button", { name: /^ema/ }).first().click();
      await page.getByText("state dict ema").waitFor();
      await page.getByRole("button", { name: "Convert to .safetensors" }).click();
      await page.getByText("EXACT-FOLD").waitFor();
    },
  );
  if (wrapped === undefined) console.log("the page's chooser was not tested: no data folder");

  test("a block is taken apart by keyboard", async () => {
    await dropFiles(page, [trainingPth]);
    const block = page.getByRole("button", { name: /stage2\.1/ });
    await block.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Block stage2.1" }).waitFor();
    // rbr_dense, rbr_1x1, rbr_identity and their sum.
    expect(await page.locator(".kernels svg").count()).toBe(4);
    await page.getByText("Cancellation").waitFor();
  });

  test("a deploy form is one net, and has nothing to convert", async () => {
    await dropFiles(page, [await deployPth()]);
    await page.getByText("deploy form, already fused").waitFor();
    await page.getByRole("heading", { name: "The file" }).waitFor();
    await page.getByRole("region", { name: "The network, drawn" }).waitFor();
    expect(await page.getByText("3×3, 24 → 24 + Relu").count()).toBe(1);
    expect(await page.getByRole("button", { name: /^Convert to/ }).count()).toBe(0);
  });

  test("a model that declares its size runs at that one", async () => {
    await dropFiles(page, [await trainingOnnx()]);
    await page.getByRole("button", { name: "Run both forms" }).waitFor();
    expect(await page.getByLabel("Input size").count()).toBe(0);
  });

  test("both forms run in the browser", async () => {
    await dropFiles(page, [trainingPth]);
    await page.getByLabel("Input size").selectOption("32");
    await page.getByRole("button", { name: "Run both forms" }).click();
    await page.getByText("of the training form's time").waitFor();
    await dropFiles(page, [await picture(page)]);
    await page.getByRole("button", { name: "Run both forms" }).click();
    await page.getByText("What each form says to picture.png").waitFor();
    const rows = page.locator("table", { hasText: "What each form says" }).locator("tbody tr");
    const cells = await rows.first().locator("td").allTextContents();
    // The same class from both forms; the probabilities agree to the two digits shown.
    expect(cells[0]).toBe(cells[1]);
  });
});

describe("two files", () => {
  test("an exact deploy form, in whatever order the files are dropped", async () => {
    await dropFiles(page, [await deployPth(), trainingPth]);
    await page.getByText("is the same function, folded exactly").waitFor();
    await page.getByText("Noise floor.").waitFor();
    expect(await page.locator("table.omega tbody tr").count()).toBe(8);
    expect(await page.locator(".slot-training .slot-file").textContent()).toContain(
      trainingPth.name,
    );
    expect(await page.getByText("Why they differ").count()).toBe(0);
  });

  test("a wrong deploy form, its cause and what to do", async () => {
    await dropFiles(page, [trainingPth, await deployPth(1e-3)]);
    await page.getByText("is a different function").waitFor();
    await page.locator('[data-cause="bn-epsilon"]').waitFor();
    await page.getByText("What to do.").waitFor();
    await page.getByText("Noise floor.").waitFor();
    await page.getByRole("button", { name: /stage2\.1/ }).click();
    await page.getByText("more than the 6 of an ordinary fuse").waitFor();
  });

  test("an own array or image as input", async () => {
    await dropFiles(page, [trainingPth, await deployPth()]);
    await page.getByText("Noise floor.").waitFor();
    await dropFiles(page, [{ name: "x.npy", bytes: npy([1, 3, 32, 32]) }]);
    await page.getByText("Run on x.npy").waitFor();
    await page.getByText("Noise floor.").waitFor();
    await dropFiles(page, [await picture(page)]);
    await page.getByText("Run on picture.png").waitFor();
    await page.getByText("Noise floor.").waitFor();
    await dropFiles(page, [{ name: "wrong.npy", bytes: npy([1, 5, 32, 32]) }]);
    await page.getByRole("alert").filter({ hasText: "[1, 5, 32, 32]" }).waitFor();
  });

  test("a running comparison can be cancelled, and the page goes on", async () => {
    await dropFiles(page, [trainingPth, await deployPth()]);
    await page.getByText("Running both networks").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Running both networks").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Convert to .onnx" }).click();
    await page.getByRole("button", { name: /^Download/ }).waitFor();
  });
});

describe("bad input", () => {
  const garbage = Uint8Array.from({ length: 4096 }, (_, i) => (i * 2654435761) >>> 24);
  test.each<DroppedFile>([
    { name: "empty.pth", bytes: new Uint8Array(0) },
    { name: "login.pth", bytes: Buffer.from("<!DOCTYPE html><html>Please log in</html>") },
    { name: "cut.pth", bytes: trainingPth.bytes.subarray(0, 100_000) },
    { name: "garbage.onnx", bytes: garbage },
    { name: "<img src=x onerror=alert(1)>.pth", bytes: garbage },
  ])("$name gets the library's message, and the page goes on", async (file) => {
    await dropFiles(page, [file]);
    const alert = page.locator(".slot-training").getByRole("alert");
    await alert.waitFor();
    expect(await alert.textContent()).toBe(await messageFor(file));
    await page.locator(".slot-training").getByRole("button", { name: "Remove" }).click();
    await dropFiles(page, [trainingPth]);
    await page.getByText("training form, with branches").waitFor();
  });
});

describe("a training run", () => {
  const record = (step: number): string =>
    JSON.stringify({
      type: "step",
      epoch: 0,
      step,
      loss: 2 / step,
      accuracy: 0.5,
      learningRate: 0.1,
    });

  test("its log becomes curves", async () => {
    const epoch = {
      type: "epoch",
      epoch: 0,
      loss: 1,
      accuracy: 0.5,
      validationAccuracy: 0.75,
      elapsedMs: 1500,
    };
    const lines = [
      ...Array.from({ length: 50 }, (_, i) => record(i + 1)),
      JSON.stringify(epoch),
      "",
    ];
    await dropFiles(page, [{ name: "run.jsonl", bytes: Buffer.from(lines.join("\n")) }]);
    await page.getByRole("img", { name: "Training loss by step" }).waitFor();
    await page.getByRole("cell", { name: "75.00 %" }).waitFor();
  });

  test("a broken log is refused by line", async () => {
    const text = `${record(1)}\nnot json\n`;
    await dropFiles(page, [{ name: "run.jsonl", bytes: Buffer.from(text) }]);
    await page.getByRole("alert").filter({ hasText: "run.jsonl: line 2: is not JSON" }).waitFor();
  });
});

describe("addresses and hosts", () => {
  test("the address shows the example and the block", async () => {
    await page.goto(`${server.url}#example=file&block=3`);
    await page.reload();
    await page.getByRole("heading", { name: "Block stage2.1" }).waitFor();
    await page.getByRole("button", { name: /stage3\.1/ }).click();
    await page.waitForURL(/#example=file&block=5$/);
  });

  test("a plain static host under a sub-path will do", async () => {
    const host = await plainHost("/some/deep/path/");
    const other = await openPage(browser, host.url);
    try {
      await other.page.getByRole("button", { name: "a conversion that went wrong" }).click();
      await other.page.getByText("is a different function").waitFor();
      await other.page.getByText("Noise floor.").waitFor();
      expect(
        other.requests.every((url) => url.startsWith(host.url) || /^(blob|data):/.test(url)),
      ).toBe(true);
      await other.finish();
    } finally {
      host.close();
    }
  });
});

/** A dark square, drawn by the browser. */
async function picture(page: Page): Promise<DroppedFile> {
  const bytes = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(40, 30);
    canvas.getContext("2d")!.fillRect(5, 5, 20, 20);
    const blob = await canvas.convertToBlob();
    return [...new Uint8Array(await blob.arrayBuffer())];
  });
  return { name: "picture.png", bytes: Uint8Array.from(bytes) };
}

/** Zeros of a shape. */
function npy(shape: readonly number[]): Uint8Array {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11).concat("\n");
  const count = shape.reduce((a, b) => a * b, 1);
  const head = Buffer.alloc(10);
  head.write("\x93NUMPY\x01\x00", "latin1");
  head.writeUInt16LE(padded.length, 8);
  return Buffer.concat([head, Buffer.from(padded, "latin1"), Buffer.alloc(4 * count)]);
}
