/** @file onnxruntime-node as a `Runtime`; its native library is loaded on first use only. */

import { ReparamError } from "../core/errors.ts";
import { createRuntime, type Runtime } from "../runtime/session.ts";

let loading: Promise<Runtime> | undefined;

/** The native CPU runtime. Throws `cannot-read` when the package or its native library cannot be loaded here. */
export function loadNodeRuntime(): Promise<Runtime> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Runtime> {
  try {
    const ort = await import("onnxruntime-node");
    return createRuntime(
      ort,
      `onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common}`,
    );
  } catch (cause) {
    loading = undefined;
    throw new ReparamError("cannot-read", {
      where: "onnxruntime-node",
      what: `its native library could not be loaded on ${process.platform}-${process.arch} (${cause instanceof Error ? cause.message : String(cause)})`,
      fix: "Reinstall the package onnxruntime-node, or run the check in the web page, which needs no native library",
      cause,
    });
  }
}
