/** @file Under which family's names inserted blocks are written to a checkpoint, and what they become when fused. */

/** How a family reads an inserted block back. */
export interface InsertionFamily {
  /** `--family` for reading the checkpoint. */
  readonly family: string;
  /** Deploy names below the block's prefix. */
  readonly weight: string;
  readonly bias: string;
  /** Pointwise weights that are stored as the difference to the identity. */
  readonly differences: readonly string[];
  /** What loads such a block, for people. */
  readonly loads: string;
}

/**
 * Convolutions that are fused RepVGG blocks get their block back where it was: `stage1.0.rbr_reparam` becomes
 * `stage1.0.rbr_dense` and so on, which the official training form loads.
 */
export const REPVGG_DEPLOY: InsertionFamily & { readonly suffix: string } = {
  suffix: "rbr_reparam",
  family: "repvgg",
  weight: "rbr_reparam.weight",
  bias: "rbr_reparam.bias",
  differences: [],
  loads: "RepVGGBlock (official training form)",
};

/** By block kind. The fused convolution takes the block's place where the family's insertion tool does it so. */
export const INSERTION_FAMILIES: Readonly<
  Record<"repvgg" | "mobileone" | "acnet" | "dbb", InsertionFamily>
> = {
  repvgg: {
    family: "zcls-repvgg",
    weight: "weight",
    bias: "bias",
    differences: [],
    loads: "RepVGGBlock (official: 3×3 only; ZCls: any odd kernel)",
  },
  mobileone: {
    family: "mobileone",
    weight: "reparam_conv.weight",
    bias: "reparam_conv.bias",
    differences: [],
    loads: "MobileOneBlock (apple/ml-mobileone)",
  },
  acnet: {
    family: "zcls-acb",
    weight: "weight",
    bias: "bias",
    differences: [],
    loads: "ACBlock (official and ZCls)",
  },
  dbb: {
    family: "zcls-dbb",
    weight: "weight",
    bias: "bias",
    differences: ["dbb_1x1_kxk.idconv1.weight"],
    loads: "DiverseBranchBlock (official and ZCls)",
  },
};
