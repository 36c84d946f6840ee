import { describe, expect, test } from "vitest";
import { badData, inFile, ReparamError } from "./errors.ts";

describe("a message", () => {
  test("is sentences: where, what, what to do", () => {
    expect(badData("a.pth: w", "shape is [2], expected [3]", "Train again").message).toBe(
      "a.pth: w: shape is [2], expected [3]. Train again.",
    );
  });

  test("ends a question with its question mark alone", () => {
    expect(badData("a.pth", "the file is empty", "Was the copy complete?").message).toBe(
      "a.pth: the file is empty. Was the copy complete?",
    );
  });
});

test("an empty name is shown", () => {
  expect(badData("", "no such file").message).toBe('"": no such file.');
});

describe("inFile", () => {
  test("puts the file before what is wrong in it, once, and keeps the rest", () => {
    const cause = new Error("inner");
    const inner = new ReparamError("bad-data", { where: "w", what: "is NaN", fix: "Fix", cause });
    const outer = inFile("a.pth", inner) as ReparamError;
    expect(outer.message).toBe("a.pth: w: is NaN. Fix.");
    expect(outer).toMatchObject({ tag: "bad-data", where: "a.pth: w", fix: "Fix", cause });
    expect(inFile("a.pth", outer)).toBe(outer);
  });

  test("leaves errors that are about no file's content", () => {
    const usage = new ReparamError("usage", { where: "--eps", what: "is 0" });
    const bug = new TypeError("x is undefined");
    expect(inFile("a.pth", usage)).toBe(usage);
    expect(inFile("a.pth", bug)).toBe(bug);
  });
});
