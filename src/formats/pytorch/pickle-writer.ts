/** @file Writes the few pickle instructions (protocol 2) a state dict needs; all are read by `weights_only=True`. */

export interface PickleWriter {
  /** A class or function; the second use of a name refers to the first. */
  global(module: string, name: string): void;
  text(value: string): void;
  integer(value: number): void;
  boolean(value: boolean): void;
  mark(): void;
  emptyDict(): void;
  emptyTuple(): void;
  /** Closes the values since the last mark. */
  tuple(): void;
  /** `callable(*args)`: takes both from the stack. */
  reduce(): void;
  setItems(): void;
  persistentId(): void;
  /** Ends the pickle and returns it. */
  finish(): Uint8Array;
}

export function createPickleWriter(): PickleWriter {
  let bytes = new Uint8Array(4096);
  let view = new DataView(bytes.buffer);
  let length = 0;
  const remembered = new Map<string, number>();
  const encoder = new TextEncoder();
  const reserve = (count: number): number => {
    if (length + count > bytes.byteLength) {
      const larger = new Uint8Array(Math.max(bytes.byteLength * 2, length + count));
      larger.set(bytes.subarray(0, length));
      bytes = larger;
      view = new DataView(bytes.buffer);
    }
    length += count;
    return length - count;
  };
  const op = (code: number): void => {
    const at = reserve(1);
    bytes[at] = code;
  };
  const raw = (value: Uint8Array): void => {
    const at = reserve(value.byteLength);
    bytes.set(value, at);
  };
  const uint32 = (value: number): void => {
    const at = reserve(4);
    view.setUint32(at, value, true);
  };
  raw(Uint8Array.of(0x80, 2));
  return {
    global: (module, name) => {
      const key = `${module}\n${name}\n`;
      const index = remembered.get(key);
      if (index !== undefined) {
        op(0x68); // BINGET
        op(index);
        return;
      }
      op(0x63);
      raw(encoder.encode(key));
      // One byte of index is plenty: a state dict uses some twenty names.
      op(0x71); // BINPUT
      op(remembered.size);
      remembered.set(key, remembered.size);
    },
    text: (value) => {
      const encoded = encoder.encode(value);
      op(0x58);
      uint32(encoded.byteLength);
      raw(encoded);
    },
    integer: (value) => {
      if (value >= 0 && value < 256) {
        op(0x4b);
        op(value);
      } else if (value >= 0 && value < 2 ** 31) {
        op(0x4a);
        uint32(value);
      } else {
        op(0x8a); // LONG1, eight bytes of two's complement
        op(8);
        const at = reserve(8);
        view.setBigInt64(at, BigInt(value), true);
      }
    },
    boolean: (value) => op(value ? 0x88 : 0x89),
    mark: () => op(0x28),
    emptyDict: () => op(0x7d),
    emptyTuple: () => op(0x29),
    tuple: () => op(0x74),
    reduce: () => op(0x52),
    setItems: () => op(0x75),
    persistentId: () => op(0x51),
    finish: () => {
      op(0x2e);
      return bytes.slice(0, length);
    },
  };
}
