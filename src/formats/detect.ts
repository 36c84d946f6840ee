/** @file What a file is, by its content and never by its name; and for foreign files, what they look like. */

import type { ByteSource } from "../core/byte-source.ts";
import { badData, type ReparamError } from "../core/errors.ts";
import { looksLikeOnnx } from "./looks-like-onnx.ts";
import { hasLegacyMagic } from "./pytorch/read-legacy-file.ts";
import { pickleFolder } from "./pytorch/read-zip-file.ts";
import { readRange } from "./read-range.ts";
import { safetensorsHeaderBytes } from "./safetensors/read-safetensors.ts";
import { looksLikeZip, readZip, type ZipArchive } from "./zip/read-zip.ts";

export type FileFormat = "pytorch-zip" | "pytorch-legacy" | "safetensors" | "onnx" | "npy" | "npz";

/** A recognised file; for zip archives with the directory already read. */
export type DetectedFile =
  | { readonly format: "pytorch-zip"; readonly archive: ZipArchive; readonly folder: string }
  | { readonly format: "npz"; readonly archive: ZipArchive }
  | { readonly format: "pytorch-legacy" | "safetensors" | "onnx" | "npy" };

const HEAD_BYTES = 512;
const TAR_MARK_OFFSET = 257;
const SUPPORTED = "Give a PyTorch checkpoint (.pth, .pt, .ckpt), a .safetensors or an .onnx file";

/** First bytes of files people pass by mistake. */
const FOREIGN: readonly (readonly [mark: string, what: string, fix: string])[] = [
  [
    "version https://git-lfs",
    "a Git LFS pointer, not the file itself",
    "Fetch the file: git lfs pull",
  ],
  ["\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, PaddleHub)", SUPPORTED],
  ["<!DOCTYPE", "an HTML page, probably from a download that asked to log in", "Download it again"],
  ["<!doctype", "an HTML page, probably from a download that asked to log in", "Download it again"],
  ["<html", "an HTML page, probably from a download that asked to log in", "Download it again"],
  ["<?xml", "an XML document", SUPPORTED],
  ["{", "a JSON text", SUPPORTED],
  ["\x1f\x8b", "a gzip archive", "Unpack it first: gunzip or tar xzf"],
  ["7z\xbc\xaf", "a 7-Zip archive", "Unpack it first"],
  ["Rar!", "a RAR archive", "Unpack it first"],
  ["\xfd7zXZ", "an xz archive", "Unpack it first"],
  ["BZh", "a bzip2 archive", "Unpack it first"],
  ["GGUF", "a GGUF file", SUPPORTED],
  ["\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model", SUPPORTED],
  ["\x89PNG", "a PNG image", SUPPORTED],
  ["\xff\xd8\xff", "a JPEG image", SUPPORTED],
  ["%PDF", "a PDF document", SUPPORTED],
  ["7767517", "an ncnn parameter file", SUPPORTED],
];

/**
 * The format of a file, from its first bytes (and a zip archive's directory).
 *
 * @throws bad-data for anything else, saying what the file looks like
 */
export async function detectFormat(source: ByteSource): Promise<FileFormat> {
  return (await detectFile(source)).format;
}

/** As `detectFormat`, keeping what had to be read. */
export async function detectFile(source: ByteSource): Promise<DetectedFile> {
  if (source.byteLength === 0) throw badData(source.name, "is empty", SUPPORTED);
  const head = await readRange(source, 0, Math.min(HEAD_BYTES, source.byteLength), "first bytes");
  if (looksLikeZip(head)) return detectZip(source);
  if (startsWith(head, "\x93NUMPY")) return { format: "npy" };
  if (safetensorsHeaderBytes(head, source.byteLength) !== undefined)
    return { format: "safetensors" };
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) {
    if (hasLegacyMagic(head)) return { format: "pytorch-legacy" };
    throw badData(
      source.name,
      "is a Python pickle, but not one made by torch.save (a Paddle .pdparams, a NumPy or scikit-learn dump?)",
      "Load it in Python and save its weights with torch.save or as .safetensors",
    );
  }
  for (const [mark, what, fix] of FOREIGN) {
    if (startsWith(head, mark)) throw looksLike(source, what, fix);
  }
  if (startsWith(head.subarray(TAR_MARK_OFFSET), "ustar")) {
    throw looksLike(
      source,
      "a tar archive (possibly a checkpoint from before PyTorch 0.2)",
      "Unpack it, or load it in PyTorch and save it again with torch.save",
    );
  }
  if (await looksLikeOnnx(source)) return { format: "onnx" };
  if (head.every((byte) => byte === 0)) {
    throw looksLike(source, "zeros only, as an interrupted download leaves them", "Fetch it again");
  }
  throw badData(source.name, "is of no format known here", SUPPORTED);
}

async function detectZip(source: ByteSource): Promise<DetectedFile> {
  const archive = await readZip(source);
  const names = [...archive.entries.keys()];
  const folder = pickleFolder(archive);
  const script = names.find((name) => /^([^/]+\/)?(constants\.pkl|code\/.*)$/.test(name));
  if (script !== undefined) {
    throw looksLike(
      source,
      "a TorchScript archive (torch.jit.save), which holds a program",
      "Save the weights instead: torch.save(model.state_dict(), …)",
    );
  }
  if (folder !== undefined) return { format: "pytorch-zip", archive, folder };
  if (names.length > 0 && names.every((name) => name.endsWith(".npy"))) {
    return { format: "npz", archive };
  }
  if (names.some((name) => name.endsWith("saved_model.pb"))) {
    throw looksLike(source, "a zipped TensorFlow SavedModel", SUPPORTED);
  }
  if (names.some((name) => name.endsWith("model.weights.h5"))) {
    throw looksLike(source, "a Keras model", SUPPORTED);
  }
  if (names.some((name) => name.endsWith("archive_format"))) {
    throw looksLike(source, "a torch.export archive (.pt2)", "Save the state_dict with torch.save");
  }
  throw looksLike(
    source,
    `a zip archive without a PyTorch checkpoint (no data.pkl among its ${names.length} entries)`,
    "If the checkpoint is inside, unpack it first",
  );
}

function looksLike(source: ByteSource, what: string, fix: string): ReparamError {
  return badData(source.name, `looks like ${what}`, fix);
}

function startsWith(bytes: Uint8Array, mark: string): boolean {
  for (let i = 0; i < mark.length; i++) if (bytes[i] !== mark.charCodeAt(i)) return false;
  return true;
}
