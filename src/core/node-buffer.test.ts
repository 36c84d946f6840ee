/** @file A Node `Buffer` is a `Uint8Array` whose `slice` shares memory; what keeps bytes must not fall for it. */

import { expect, test } from "vitest";
import { memorySink } from "./byte-sink.ts";
import { decodeFloat64 } from "./dtype.ts";

test("a memory sink keeps what was written when the caller reuses its Buffer", async () => {
  const sink = memorySink();
  const buffer = Buffer.from([1, 2, 3]);
  await sink.write(buffer);
  buffer.fill(0);
  expect([...sink.bytes()]).toEqual([1, 2, 3]);
});

test("elements of a Buffer at an odd offset are read", () => {
  const bytes = Buffer.alloc(16, 0);
  for (let offset = 0; offset < 4; offset++) {
    const at = bytes.subarray(offset, offset + 4);
    at.writeFloatLE(1.5);
    expect([...decodeFloat64(at, "float32")]).toEqual([1.5]);
  }
});
