/** @file What the page asks its worker and what comes back. Every request names its files itself, so a worker can be replaced at any time. */

import type { TargetFormat } from "../../../src/convert/conversion.ts";
import type { Inspection } from "../../../src/convert/inspect.ts";
import type { ErrorTag } from "../../../src/core/errors.ts";
import type { Progress } from "../../../src/core/task.ts";
import type { CurveView } from "../../../src/report/html/curve-view.ts";
import type { FindingView } from "../../../src/report/html/findings-markup.ts";
import type { VerdictView } from "../../../src/report/html/verdict-view.ts";
import type { NoisePoint } from "../../../src/verify/noise-floor.ts";

/** A dropped file and what the user said about it. */
export interface Subject {
  /** New for every drop; the worker keeps opened files under it. */
  readonly id: number;
  readonly file: File;
  readonly key: string | undefined;
  readonly family: string | undefined;
  readonly epsilon: number | undefined;
}

/** Totals of one form; undefined where they cannot be known from the file. */
export interface Totals {
  readonly parameters: number;
  readonly bytes: number;
  readonly macs: number | undefined;
}

export interface FileView {
  readonly inspection: Inspection;
  readonly sizeBytes: number;
  readonly before: Totals;
  /** Undefined when nothing can be fused; `whyNot` says why. */
  readonly after: Totals | undefined;
  readonly whyNot: string | undefined;
  readonly targets: readonly TargetFormat[];
}

/** What the user has to choose before the file can be used. */
export interface Choice {
  readonly about: "key" | "family";
  readonly options: readonly { readonly value: string; readonly label: string }[];
}

/** A node of the net's figure; the same place in both forms. */
export interface NetNode {
  readonly kind: "block" | "operator" | "end";
  /** Of the deploy form, e.g. `3×3, 48 → 96 /2`. */
  readonly label: string;
  readonly name: string;
  /** The branches of the training form, shortened; empty where nothing is fused. */
  readonly lanes: readonly string[];
  /** Position in the inspection's blocks. */
  readonly block: number | undefined;
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export interface NetView {
  readonly nodes: readonly NetNode[];
  readonly edges: readonly (readonly (readonly [x: number, y: number])[])[];
  /** Of one form. */
  readonly width: number;
  readonly height: number;
  readonly rowHeight: number;
  /** Whether the edges are known. */
  readonly connected: boolean;
  /** Blocks that are not drawn. */
  readonly hidden: number;
}

/** A kernel's root mean square per tap over all pairs of channels, `[rows, columns]`. */
export interface KernelView {
  readonly label: string;
  readonly rows: number;
  readonly columns: number;
  readonly rms: readonly number[];
  /** Frobenius norm. */
  readonly norm: number;
}

export interface BlockView {
  readonly name: string;
  readonly weightName: string;
  readonly shape: readonly number[];
  readonly k: { readonly weight: number; readonly bias: number };
  /** Summed magnitudes over the magnitude of the sum: how much the branches cancel each other. */
  readonly cancellation: number;
  readonly epsilon:
    | { readonly value: number; readonly from: "file" | "option" | "default" }
    | undefined;
  /** Operators after the sum, e.g. a second BatchNormalization. */
  readonly tail: readonly string[];
  /** After their own normalization, in the frame of the fused kernel. */
  readonly branches: readonly (KernelView & { readonly role: string })[];
  readonly fused: KernelView & {
    readonly mosaicRows: number;
    readonly mosaicColumns: number;
    /** The first filters, `[mosaicRows, mosaicColumns, rows, columns]`. */
    readonly mosaic: Float32Array;
  };
  readonly assumptions: readonly string[];
}

export interface ConvertedView {
  readonly file: File;
  readonly nonFinite: readonly { readonly name: string; readonly index: number }[];
  readonly verdict: { readonly word: string; readonly reasons: readonly string[] };
  readonly elapsedMs: number;
}

export interface OutputComparison {
  readonly verdict: VerdictView;
  readonly noise: readonly NoisePoint[];
}

export interface RaceForm {
  readonly medianMs: number;
  /** Quartiles. */
  readonly lowMs: number;
  readonly highMs: number;
  readonly top: readonly { readonly index: number; readonly probability: number }[];
}

export interface RaceView {
  readonly runtime: string;
  readonly shape: readonly number[];
  readonly rounds: number;
  readonly image: string | undefined;
  readonly training: RaceForm;
  readonly deploy: RaceForm;
}

/** Requests by name: what is sent and what is answered. */
export interface Calls {
  inspect: { params: { subject: Subject }; result: FileView };
  convert: { params: { subject: Subject; target: TargetFormat }; result: ConvertedView };
  net: { params: { subject: Subject }; result: NetView };
  block: { params: { subject: Subject; name: string }; result: BlockView };
  weights: { params: { training: Subject; deploy: Subject }; result: VerdictView };
  findings: { params: { training: Subject; deploy: Subject }; result: FindingView[] };
  outputs: {
    params: { training: Subject; deploy: Subject; input: File | undefined };
    result: OutputComparison;
  };
  race: {
    params: {
      training: Subject;
      /** Without one, the deploy form is made on the fly. */
      deploy: Subject | undefined;
      provider: "wasm" | "webgpu";
      /** Height and width where the model leaves them open. */
      size: number;
      image: File | undefined;
    };
    result: RaceView;
  };
  curve: { params: { file: File }; result: CurveView };
}

export type CallName = keyof Calls;

export type ToWorker =
  | {
      readonly type: "call";
      readonly id: number;
      readonly name: CallName;
      readonly params: unknown;
    }
  | { readonly type: "cancel"; readonly id: number };

export interface Failure {
  readonly tag: ErrorTag;
  readonly message: string;
  readonly choice: Choice | undefined;
}

export type FromWorker =
  | { readonly type: "progress"; readonly id: number; readonly progress: Progress }
  | { readonly type: "done"; readonly id: number; readonly result: unknown }
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure };
