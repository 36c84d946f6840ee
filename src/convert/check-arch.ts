/** @file Holds a checkpoint to the architecture that the user named. */

import { badData, ReparamError } from "../core/errors.ts";
import { hasRepVggKeys, inferRepVgg, repVggArch } from "../zoo/nets/index.ts";
import { type ModelFile, stripPrefix } from "./open.ts";

/**
 * Throws unless `file` holds the RepVGG that `name` stands for. The head's classes and the input channels may be others.
 *
 * @throws usage (no such architecture; the file is an ONNX model), bad-data (another net)
 */
export function assertArch(file: ModelFile, name: string): void {
  const wanted = repVggArch(name);
  if (file.kind === "onnx") {
    throw new ReparamError("usage", {
      where: file.name,
      what: "is an ONNX model, whose architecture is in the file",
      fix: "Leave --arch out",
    });
  }
  const state = stripPrefix(file.state, file.prefix);
  if (!hasRepVggKeys(state)) throw badData(file.name, `holds no RepVGG, expected ${wanted.name}`);
  const { arch } = inferRepVgg(state, { where: file.name, allowSurplus: true });
  if (arch.name === wanted.name) return;
  throw badData(
    file.name,
    `holds ${arch.name ?? `a custom RepVGG with blocks ${arch.stageBlocks.join(", ")} and widths ${arch.stageWidths.join(", ")}`}, expected ${wanted.name}`,
    "Leave --arch out to take the net as it is",
  );
}
