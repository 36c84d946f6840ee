import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { isReparamError } from "../core/errors.ts";
import { createFileSink } from "./file-sink.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-sink-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const errorOf = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isReparamError(error) ? `${error.tag} | ${error.message}` : `not ours: ${error}`;
};

/** Makes every write of every open file fail the way the operating system reports it. */
async function failWrites(method: "write" | "sync" | "datasync", code: string): Promise<void> {
  const probe = await open(join(folder, ".probe"), "w");
  const prototype = Object.getPrototypeOf(probe) as Record<typeof method, () => Promise<never>>;
  await probe.close();
  await rm(join(folder, ".probe"));
  vi.spyOn(prototype, method).mockRejectedValue(Object.assign(new Error(code), { code }));
}

describe("createFileSink", () => {
  test("writes small and large pieces in order, and the target appears on close only", async () => {
    const path = join(folder, "out.bin");
    const sink = await createFileSink(path);
    const expected: number[] = [];
    // 3 MiB is above the 1 MiB buffer, 700 000 twice crosses its end, 0 and 1 are the edges.
    for (const [i, size] of [1, 700_000, 700_000, 0, 3 * 2 ** 20, 5].entries()) {
      const piece = new Uint8Array(size).fill(i + 1);
      await sink.write(piece);
      piece.fill(99); // the sink must have copied what it keeps
      expected.push(size);
    }
    expect(await readdir(folder)).toHaveLength(1);
    expect((await readdir(folder))[0]).toMatch(/^\.out\.bin\.[0-9a-f]{12}\.tmp$/);
    await sink.close();
    expect(await readdir(folder)).toEqual(["out.bin"]);
    const bytes = await readFile(path);
    let offset = 0;
    for (const [i, size] of expected.entries()) {
      expect(bytes.subarray(offset, offset + size).every((b) => b === i + 1)).toBe(true);
      offset += size;
    }
    expect(bytes.byteLength).toBe(offset);
  });

  test("abort leaves nothing, and may be called again and after close", async () => {
    const path = join(folder, "out.bin");
    const sink = await createFileSink(path);
    await sink.write(Uint8Array.of(1));
    await sink.abort();
    await sink.abort();
    expect(await readdir(folder)).toEqual([]);
    const second = await createFileSink(path);
    await second.close();
    await second.abort();
    expect(await readdir(folder)).toEqual(["out.bin"]);
  });

  test("an existing file is kept without force", async () => {
    const path = join(folder, "out.bin");
    await writeFile(path, "old");
    expect(await errorOf(createFileSink(path))).toMatch(
      /^cannot-write \| .*exists already\. Pass --force/,
    );
    expect(await readdir(folder)).toEqual(["out.bin"]);
  });

  test("a file that appears while we write is kept without force", async () => {
    const path = join(folder, "out.bin");
    const sink = await createFileSink(path);
    await writeFile(path, "theirs");
    expect(await errorOf(sink.close())).toMatch(/^cannot-write \| .*exists already/);
    expect(await readFile(path, "utf8")).toBe("theirs");
    expect(await readdir(folder)).toEqual(["out.bin"]);
  });

  test("force replaces the content and keeps the permission bits", async () => {
    const path = join(folder, "out.bin");
    await writeFile(path, "a longer old content");
    await chmod(path, 0o640);
    const sink = await createFileSink(path, { force: true });
    await sink.write(Uint8Array.of(65));
    await sink.close();
    expect(await readFile(path, "utf8")).toBe("A");
    if (process.platform !== "win32") expect((await stat(path)).mode & 0o777).toBe(0o640);
  });

  test.runIf(process.platform !== "win32")(
    "a link stays a link; its target is replaced",
    async () => {
      await mkdir(join(folder, "real"));
      await writeFile(join(folder, "real", "out.bin"), "old");
      await symlink(join("real", "out.bin"), join(folder, "link.bin"));
      const sink = await createFileSink(join(folder, "link.bin"), { force: true });
      await sink.write(Uint8Array.of(65));
      await sink.close();
      expect(await readlink(join(folder, "link.bin"))).toBe(join("real", "out.bin"));
      expect(await readFile(join(folder, "real", "out.bin"), "utf8")).toBe("A");
    },
  );

  test.runIf(process.platform !== "win32")("a dangling link is refused", async () => {
    await symlink("nowhere", join(folder, "link.bin"));
    expect(await errorOf(createFileSink(join(folder, "link.bin"), { force: true }))).toMatch(
      /^cannot-write \| .*symbolic link to a file that does not exist/,
    );
  });

  test("a folder as the target is refused", async () => {
    await mkdir(join(folder, "sub"));
    expect(await errorOf(createFileSink(join(folder, "sub"), { force: true }))).toMatch(
      /^cannot-write \| .*it is a folder/,
    );
  });

  test.runIf(process.platform !== "win32")("a device as the target is refused", async () => {
    expect(await errorOf(createFileSink("/dev/null", { force: true }))).toMatch(
      /^cannot-write \| .*not a regular file/,
    );
  });

  test("a missing folder is named", async () => {
    expect(await errorOf(createFileSink(join(folder, "no", "out.bin")))).toMatch(
      /^cannot-write \| .*the folder .*no does not exist\. Create it first\.$/,
    );
  });

  test.each([
    ["ENOSPC", /no space left on the disk \(ENOSPC\)\. Free some space/],
    ["EFBIG", /does not allow a file this large \(EFBIG\)/],
    ["EIO", /input\/output error \(EIO\)/],
  ])("a failing write (%s) is said in words and leaves nothing", async (code, text) => {
    const sink = await createFileSink(join(folder, "out.bin"));
    await failWrites("write", code);
    const message = await errorOf(sink.write(new Uint8Array(2 ** 20)));
    expect(message).toMatch(/^cannot-write \| /);
    expect(message).toMatch(text);
    expect(await readdir(folder)).toEqual([]);
    expect(await errorOf(sink.close())).toMatch(/^internal \| .*aborted/);
  });

  test("a write that is lost in the background flush is reported, though a second flush would succeed", async () => {
    const sink = await createFileSink(join(folder, "out.bin"));
    await failWrites("datasync", "EIO");
    await sink.write(Uint8Array.of(1));
    // Reading back begins while the system flushes.
    await sink.reopen();
    expect(await errorOf(sink.close())).toMatch(/^cannot-write \| .*input\/output error/);
    expect(await readdir(folder)).toEqual([]);
  });

  test("a disk that turns out full when flushed is a failure too", async () => {
    const sink = await createFileSink(join(folder, "out.bin"));
    await sink.write(Uint8Array.of(1));
    await failWrites("sync", "ENOSPC");
    expect(await errorOf(sink.close())).toMatch(/^cannot-write \| .*no space left/);
    expect(await readdir(folder)).toEqual([]);
  });
});
