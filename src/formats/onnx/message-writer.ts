/**
 * @file Protobuf messages whose large payloads are not in memory: pieces of bytes, and tensors to be streamed.
 * A length prefix needs the size of what follows, so a message is first laid out, then written.
 */

import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { LazyTensor } from "../../core/tensor.ts";

/** A tensor's elements, written where they stand. */
export interface TensorPiece {
  readonly tensor: LazyTensor;
  /** For progress and messages. */
  readonly name: string;
  readonly sizeBytes: number;
}

export type Piece = Uint8Array | TensorPiece;

/** One message being laid out. Field order is call order. */
export class MessageWriter {
  #pending = new BinaryWriter();
  readonly #pieces: Piece[] = [];

  int(field: number, value: number): void {
    this.#pending.tag(field, WireType.Varint).int64(value);
  }

  float(field: number, value: number): void {
    // fround first: the library refuses finite numbers that round to infinity.
    this.#pending.tag(field, WireType.Bit32).float(Math.fround(value));
  }

  string(field: number, value: string): void {
    this.#pending.tag(field, WireType.LengthDelimited).string(value);
  }

  /** A string that is left out when it is empty. */
  optionalString(field: number, value: string | undefined): void {
    if (value) this.string(field, value);
  }

  bytes(field: number, value: Uint8Array): void {
    this.#pending.tag(field, WireType.LengthDelimited).bytes(value);
  }

  /** Whole fields, tags included, exactly as they stood in a file. */
  fields(chunks: readonly Uint8Array[] | undefined): void {
    for (const chunk of chunks ?? []) this.#pending.raw(chunk);
  }

  tensorData(field: number, piece: TensorPiece): void {
    this.#pending.tag(field, WireType.LengthDelimited).uint64(piece.sizeBytes);
    this.#flush();
    this.#pieces.push(piece);
  }

  message(field: number, write: (message: MessageWriter) => void): void {
    const inner = new MessageWriter();
    write(inner);
    const pieces = inner.finish();
    const sizeBytes = sizeOf(pieces);
    this.#pending.tag(field, WireType.LengthDelimited).uint64(sizeBytes);
    if (pieces.every((piece) => piece instanceof Uint8Array)) {
      for (const piece of pieces) this.#pending.raw(piece);
    } else {
      this.#flush();
      for (const piece of pieces) this.#pieces.push(piece);
    }
  }

  finish(): Piece[] {
    this.#flush();
    return this.#pieces;
  }

  #flush(): void {
    const bytes = this.#pending.finish();
    if (bytes.byteLength > 0) this.#pieces.push(bytes);
    this.#pending = new BinaryWriter();
  }
}

export function sizeOf(pieces: readonly Piece[]): number {
  let size = 0;
  for (const piece of pieces) {
    size += piece instanceof Uint8Array ? piece.byteLength : piece.sizeBytes;
  }
  return size;
}
