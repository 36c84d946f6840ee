/** @file What `reparam create` prints, as text and as JSON (see docs/json.md). */

import { formatBytes, formatCount } from "./format.ts";
import type { CreationResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";

export function creationText(result: CreationResult, style: Style = PLAIN): string[] {
  const { output, arch, form, seed, parameters } = result;
  const name = arch.name ?? `RepVGG with blocks ${arch.stageBlocks.join(", ")}`;
  return [
    `${name}, ${form} form, seed ${seed}: ${formatCount(parameters)} parameters`,
    `Written to ${style.bold(output.path)}, ${formatBytes(output.sizeBytes)}`,
  ];
}

export function creationJson(result: CreationResult): object {
  return { schema: "reparam.create/1", ...result };
}
