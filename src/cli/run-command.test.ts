import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ErrorTag, ReparamError } from "../core/errors.ts";
import { ERROR_EXIT_CODES } from "./exit-codes.ts";
import { parseShape } from "./options.ts";
import { createProgressLine } from "./progress-line.ts";
import { jsonNumber, printable, reportError, runCommand } from "./run-command.ts";

let stderr = "";
let stdout = "";

beforeEach(() => {
  [stderr, stdout] = ["", ""];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += text;
    return true;
  });
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += text;
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = undefined;
});

describe("errors", () => {
  test.each(Object.entries(ERROR_EXIT_CODES))("%s exits with %i", (tag, code) => {
    expect(reportError(new ReparamError(tag as ErrorTag, { where: "a", what: "b" }))).toBe(code);
  });

  test("one line without a stack; a bug says how to see it", () => {
    expect(reportError(new TypeError("x is undefined"))).toBe(70);
    expect(stderr).toMatch(/^error: internal: reparam: x is undefined\. Please report this\.\n/);
    expect(stderr).not.toContain("    at ");
    vi.stubEnv("REPARAM_DEBUG", "1");
    reportError(new TypeError("x is undefined"));
    expect(stderr).toContain("    at ");
  });

  test("control characters of a file name do not reach the terminal", () => {
    expect(printable("a\u001b[31m\nb")).toBe("a [31m b");
  });
});

describe("running", () => {
  test("the action's number is the exit code; text and JSON exclude each other", async () => {
    await runCommand({ json: true }, async ({ print, printJson }) => {
      print(["text"]);
      printJson({ ratio: Number.POSITIVE_INFINITY, list: Float64Array.of(1) });
      return 2;
    });
    expect(process.exitCode).toBe(2);
    expect(JSON.parse(stdout)).toEqual({ ratio: "Infinity", list: [1] });
  });

  test("SIGINT becomes an abort, and the listener goes", async () => {
    const before = process.listenerCount("SIGINT");
    await runCommand({}, async ({ signal }) => {
      process.emit("SIGINT");
      expect(signal.aborted).toBe(true);
      throw new ReparamError("aborted", { where: "x", what: "stopped" });
    });
    expect(process.exitCode).toBe(130);
    expect(process.listenerCount("SIGINT")).toBe(before);
  });

  test("JSON numbers", () => {
    expect(JSON.stringify({ a: Number.NaN, b: 1.5 }, jsonNumber)).toBe('{"a":"NaN","b":1.5}');
  });
});

describe("progress", () => {
  const terminal = (isTTY: boolean): { stream: NodeJS.WriteStream; written: string[] } => {
    const written: string[] = [];
    const write = (text: string): boolean => written.push(text) > 0;
    return { stream: { isTTY, columns: 60, write } as unknown as NodeJS.WriteStream, written };
  };
  const half = { label: "x".repeat(100), done: 1, total: 2 };

  test("short work shows nothing; long work one line that fits; clearing wipes it", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { stream, written } = terminal(true);
    const line = createProgressLine(stream);
    line.update(half);
    expect(written).toEqual([]);
    vi.advanceTimersByTime(600);
    line.update(half);
    expect(written).toHaveLength(1);
    expect(written[0]).toContain(" 50 %");
    expect(written[0]!.length - "\r\u001b[2K".length).toBeLessThanOrEqual(60);
    line.clear();
    expect(written.at(-1)).toBe("\r\u001b[2K");
    vi.useRealTimers();
  });

  test("nothing where nobody watches", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { stream, written } = terminal(false);
    const line = createProgressLine(stream);
    vi.advanceTimersByTime(5000);
    line.update(half);
    line.clear();
    expect(written).toEqual([]);
    vi.useRealTimers();
  });
});

test("shapes", () => {
  expect(parseShape("1x3x224x224")).toEqual([1, 3, 224, 224]);
  for (const text of ["x.npy", "1x", "0x3", "1x3x99999999", ""]) {
    expect(parseShape(text)).toBeUndefined();
  }
});
