/** @file Every built-in family, in the order in which equal meanings are reported. */

import type { FamilyRow } from "../family.ts";
import { ACNET } from "./acnet.ts";
import { DBB } from "./dbb.ts";
import { ECBSR } from "./ecbsr.ts";
import { EFFICIENTLOFTR } from "./efficientloftr.ts";
import { FASTVIT } from "./fastvit.ts";
import { GHOSTNETV3 } from "./ghostnetv3.ts";
import { MMPRETRAIN_MOBILEONE } from "./mmpretrain-mobileone.ts";
import { MMPRETRAIN_REPVGG } from "./mmpretrain-repvgg.ts";
import { MOBILEIE } from "./mobileie.ts";
import { MOBILEONE } from "./mobileone.ts";
import { OREPA } from "./orepa.ts";
import { PPLCNETV3 } from "./pplcnetv3.ts";
import { PPYOLOE } from "./ppyoloe.ts";
import { QAREPVGG, QAREPVGG_V2 } from "./qarepvgg.ts";
import { REPGHOST } from "./repghost.ts";
import { REPLKNET } from "./replknet.ts";
import { REPVGG } from "./repvgg.ts";
import { REPVGGPLUS } from "./repvggplus.ts";
import { REPVIT } from "./repvit.ts";
import { RT4KSR } from "./rt4ksr.ts";
import { RVSR } from "./rvsr.ts";
import { SIXDREPNET } from "./sixdrepnet.ts";
import { SUPER_GRADIENTS } from "./super-gradients.ts";
import { TIMM_FASTVIT } from "./timm-fastvit.ts";
import { TIMM_MOBILEONE } from "./timm-mobileone.ts";
import { TIMM_REPVGG } from "./timm-repvgg.ts";
import { ULTRALYTICS } from "./ultralytics.ts";
import { UNIREPLKNET } from "./unireplknet.ts";
import { YOLO_NAS, YOLO_NAS_PARTIAL } from "./yolo-nas.ts";
import { YOLOV6 } from "./yolov6.ts";
import { YOLOV7 } from "./yolov7.ts";
import { ZCLS_ACB } from "./zcls-acb.ts";
import { ZCLS_DBB } from "./zcls-dbb.ts";
import { ZCLS_REPVGG } from "./zcls-repvgg.ts";

export const FAMILIES: readonly FamilyRow[] = [
  REPVGG,
  REPVGGPLUS,
  EFFICIENTLOFTR,
  SIXDREPNET,
  ZCLS_REPVGG,
  TIMM_REPVGG,
  MMPRETRAIN_REPVGG,
  MOBILEONE,
  TIMM_MOBILEONE,
  MMPRETRAIN_MOBILEONE,
  ACNET,
  ZCLS_ACB,
  DBB,
  ZCLS_DBB,
  REPLKNET,
  UNIREPLKNET,
  OREPA,
  YOLOV6,
  QAREPVGG,
  QAREPVGG_V2,
  YOLOV7,
  ULTRALYTICS,
  SUPER_GRADIENTS,
  YOLO_NAS,
  YOLO_NAS_PARTIAL,
  PPYOLOE,
  PPLCNETV3,
  REPVIT,
  FASTVIT,
  TIMM_FASTVIT,
  REPGHOST,
  GHOSTNETV3,
  ECBSR,
  RT4KSR,
  RVSR,
  MOBILEIE,
];
