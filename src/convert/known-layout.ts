/** @file What a checkpoint's blocks look like inside their net, where the net is known from its keys and shapes. */

import { isReparamError } from "../core/errors.ts";
import {
  hasRepVggKeys,
  inferRepVgg,
  type RepVggArch,
  type RepVggBlock,
  repVggBlocks,
} from "../zoo/nets/index.ts";
import { type CheckpointFile, stripPrefix } from "./open.ts";

export interface KnownLayout {
  readonly arch: RepVggArch | undefined;
  /** The wrapper prefix that the names share, e.g. `module.`. */
  readonly prefix: string;
  /** By name without the shared prefix; empty where the net is not known. */
  readonly blocks: ReadonlyMap<string, RepVggBlock>;
  /** Why there is no net although the keys begin like one. */
  readonly problem: string | undefined;
}

/** Looks at names and shapes only. */
export function knownLayout(file: CheckpointFile): KnownLayout {
  const state = stripPrefix(file.state, file.prefix);
  const none = { arch: undefined, prefix: file.prefix, blocks: new Map<string, RepVggBlock>() };
  if (!hasRepVggKeys(state)) return { ...none, problem: undefined };
  try {
    const { arch } = inferRepVgg(state, { where: file.name, allowSurplus: true });
    const blocks = new Map(repVggBlocks(arch).map((block) => [block.prefix, block]));
    return { arch, prefix: file.prefix, blocks, problem: undefined };
  } catch (error) {
    if (!isReparamError(error, "bad-data")) throw error;
    return {
      ...none,
      problem: `it begins like a RepVGG, but is none: ${error.where}: ${error.what}`,
    };
  }
}
