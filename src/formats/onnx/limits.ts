/** @file How much an ONNX file may ask of us. Every limit is far above real models and bounds memory, time or stack. */

export interface OnnxLimits {
  /** Nodes per graph. */
  readonly nodes: number;
  /** Initializers per graph, of all kinds. */
  readonly initializers: number;
  /** Declared values (inputs, outputs, inner values) per graph. */
  readonly valueInfos: number;
  /** Inputs, outputs and attributes of one node, each. */
  readonly perNode: number;
  /** Dimensions of one tensor or declared type. */
  readonly rank: number;
  /** Graphs within graphs; bounds recursion. */
  readonly graphDepth: number;
  /** Bytes of one name or other string. */
  readonly stringBytes: number;
  /** Fields of one message that is held as a list (all but model and graph). */
  readonly fieldsPerMessage: number;
  /** Bytes, over the whole file, that are kept in memory without being interpreted. */
  readonly keptBytes: number;
  /** Entries of opset imports and metadata, each. */
  readonly modelEntries: number;
}

export const ONNX_LIMITS: OnnxLimits = {
  nodes: 1_000_000,
  initializers: 1_000_000,
  valueInfos: 4_000_000,
  perNode: 100_000,
  rank: 64,
  graphDepth: 32,
  stringBytes: 16 * 2 ** 20,
  fieldsPerMessage: 4_000_000,
  keptBytes: 512 * 2 ** 20,
  modelEntries: 10_000,
};
