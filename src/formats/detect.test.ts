import { expect, test } from "vitest";
import { torchLegacy, torchZip, vector, zipFile } from "../../test/support/pickle-bytes.ts";
import { memorySource } from "../core/byte-source.ts";
import { float32Tensor } from "../core/tensor.ts";
import { detectFormat } from "./detect.ts";
import { writeNpy } from "./npy/write-npy.ts";

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const detect = (bytes: Uint8Array) => detectFormat(memorySource("weights.bin", bytes));
const npy = writeNpy(float32Tensor([1], [1]));

/** ir_version 8, an opset import, an empty graph. */
const ONNX = Uint8Array.of(0x08, 8, 0x42, 2, 0x10, 13, 0x3a, 0);

test("tells formats by their content", async () => {
  expect(await detect(await torchZip(vector("0", 1), { 0: new Uint8Array(4) }))).toBe(
    "pytorch-zip",
  );
  expect(await detect(torchLegacy(vector("0", 1), []))).toBe("pytorch-legacy");
  expect(await detect(ascii("\x02\0\0\0\0\0\0\0{}"))).toBe("safetensors");
  expect(await detect(npy)).toBe("npy");
  expect(await detect(await zipFile({ "x.npy": npy }))).toBe("npz");
  expect(await detect(ONNX)).toBe("onnx");
});

test.each<[string, Uint8Array]>([
  ["is empty", new Uint8Array(0)],
  ["looks like an HTML page", ascii("<!DOCTYPE html><html></html>")],
  ["looks like a Git LFS pointer", ascii("version https://git-lfs.github.com/spec/v1\noid")],
  ["looks like an HDF5 file", ascii("\x89HDF\r\n\x1a\n....")],
  ["looks like a tar archive", ascii(`${"name".padEnd(257, "\0")}ustar\x0000`)],
  ["looks like a gzip archive", ascii("\x1f\x8b\x08....")],
  ["looks like zeros only", new Uint8Array(600)],
  ["is a Python pickle, but not one made by torch.save", Uint8Array.of(0x80, 2, 0x4e, 0x2e)],
  ["is of no format known here", ascii("hello, world. this is a text.")],
  ["is of no format known here", ONNX.subarray(0, 6)], // no graph
  ["is of no format known here", Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
])("%s", async (message, bytes) => {
  await expect(detect(bytes)).rejects.toThrow(message);
});

test.each<[string, Record<string, string>]>([
  ["TorchScript", { "net/data.pkl": "x", "net/constants.pkl": "y" }],
  ["TorchScript", { "net/code/a.py": "x" }],
  ["SavedModel", { "a/saved_model.pb": "x" }],
  ["Keras", { "model.weights.h5": "x" }],
  ["torch.export", { "m/archive_format": "pt2" }],
  ["zip archive without a PyTorch checkpoint", { "readme.txt": "x", "x.npy": "y" }],
  ["2 entries called data.pkl", { "a/data.pkl": "x", "b/data.pkl": "y" }],
])("refuses a zip: %s", async (message, entries) => {
  await expect(zipFile(entries).then(detect)).rejects.toThrow(message);
});
