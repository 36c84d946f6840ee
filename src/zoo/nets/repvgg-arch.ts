/**
 * @file A RepVGG as data: what distinguishes one net of the family from another, and the list of blocks that follows.
 *
 * Source of the layout: DingXiaoH/RepVGG, `repvgg.py` and `repvggplus.py` (published architecture; read, not copied).
 */

/** Where the squeeze-and-excitation stands in a block: D2se has it before the ReLU, RepVGGplus after it. */
export type SePosition = "none" | "before-relu" | "after-relu";

/** `repvggplus` splits the third stage in two and names its blocks `stageS.blocks.i`. */
export type RepVggLayout = "repvgg" | "repvggplus";

/** `mixed`: some blocks have branches and some are fused, or a block holds both. */
export type RepVggForm = "training" | "deploy" | "mixed";

/** Everything that decides a RepVGG's keys, shapes and graph. */
export interface RepVggArch {
  /** The published name, e.g. `RepVGG-A0`; absent for a custom net. */
  readonly name?: string;
  readonly layout: RepVggLayout;
  readonly inputChannels: number;
  /** Output channels of `stage0`. */
  readonly stem: number;
  /** Blocks per stage: four stages, five with layout `repvggplus` (its third stage has two halves). */
  readonly stageBlocks: readonly number[];
  /** Output channels per stage, as long as `stageBlocks`. */
  readonly stageWidths: readonly number[];
  /** Convolution groups per block, over the whole net; `stage0` is index 0. */
  readonly groups: readonly number[];
  readonly classes: number;
  readonly se: SePosition;
  /** Channels of an SE block's bottleneck = ⌊channels / seReduction⌋; present iff `se` is not `none`. */
  readonly seReduction?: number;
  /** RepVGGplus in training: classifiers behind stage1, stage2 and stage3_first. */
  readonly auxHeads: boolean;
}

/** One stage: its key prefix, where its blocks are, and the stride of its first block. */
export interface RepVggStage {
  readonly name: string;
  /** `stage1` or `stage1.blocks`: block i is `<blocks>.<i>`. */
  readonly blocks: string;
  readonly stride: number;
}

/** One block with everything its keys and its graph need. */
export interface RepVggBlock {
  readonly prefix: string;
  readonly inC: number;
  readonly outC: number;
  readonly stride: number;
  readonly group: number;
  /** The training form has an identity branch: stride 1 and as many channels out as in. */
  readonly identity: boolean;
  /** The SE's key prefix and bottleneck channels. */
  readonly se: { readonly prefix: string; readonly hiddenC: number } | undefined;
  /** The stage this block ends; `undefined` for an inner block and for `stage0`. */
  readonly endsStage: string | undefined;
}

const STAGES: Readonly<Record<RepVggLayout, readonly RepVggStage[]>> = {
  repvgg: ["stage1", "stage2", "stage3", "stage4"].map((name) => ({
    name,
    blocks: name,
    stride: 2,
  })),
  // The second half of the third stage goes on at the same size.
  repvggplus: ["stage1", "stage2", "stage3_first", "stage3_second", "stage4"].map((name) => ({
    name,
    blocks: `${name}.blocks`,
    stride: name === "stage3_second" ? 1 : 2,
  })),
};

/** The stages behind which RepVGGplus trains an auxiliary classifier, in key order. */
export const AUX_STAGES: readonly string[] = ["stage1", "stage2", "stage3_first"];

/** The stages of a layout, without `stage0`. */
export function repVggStages(layout: RepVggLayout): readonly RepVggStage[] {
  return STAGES[layout];
}

/** The stages of this net that have an auxiliary classifier. */
export function auxStages(arch: RepVggArch): readonly string[] {
  return arch.auxHeads ? AUX_STAGES : [];
}

/** The last part of an SE block's prefix, as the checkpoints name it. */
export function seName(se: Exclude<SePosition, "none">): string {
  return se === "before-relu" ? "se" : "post_se";
}

/** All blocks in execution order, `stage0` first. */
export function repVggBlocks(arch: RepVggArch): RepVggBlock[] {
  const blocks: RepVggBlock[] = [];
  let inC = arch.inputChannels;
  const add = (prefix: string, outC: number, stride: number, endsStage?: string): void => {
    blocks.push({
      prefix,
      inC,
      outC,
      stride,
      group: arch.groups[blocks.length] ?? 1,
      identity: stride === 1 && inC === outC,
      se:
        arch.se === "none"
          ? undefined
          : {
              prefix: `${prefix}.${seName(arch.se)}`,
              hiddenC: Math.floor(outC / (arch.seReduction ?? 1)),
            },
      endsStage,
    });
    inC = outC;
  };
  add("stage0", arch.stem, 2);
  repVggStages(arch.layout).forEach((stage, s) => {
    const count = arch.stageBlocks[s] ?? 0;
    for (let i = 0; i < count; i++) {
      add(
        `${stage.blocks}.${i}`,
        arch.stageWidths[s] ?? 0,
        i === 0 ? stage.stride : 1,
        i === count - 1 ? stage.name : undefined,
      );
    }
  });
  return blocks;
}
