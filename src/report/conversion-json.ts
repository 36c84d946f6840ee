/** @file The document of `reparam convert --json`. See docs/json.md. */

import { blockFacts, parameterCounts, regionFacts } from "./conversion-text.ts";
import type { ConversionResult } from "./result.ts";
import { verificationPart } from "./verification-json.ts";

export function conversionJson(result: ConversionResult): object {
  const { conversion, written, verification } = result;
  const [before, after] = parameterCounts(conversion);
  return {
    schema: "reparam.convert/1",
    input: result.input,
    output: result.output,
    published: result.published,
    parameters: { before, after },
    ...(conversion.kind === "checkpoint"
      ? {
          format: conversion.file.format,
          key: conversion.file.key,
          prefix: conversion.file.prefix,
          form: conversion.plan.form,
          blocks: conversion.plan.blocks.map((block) => ({
            ...blockFacts(block, result.layout),
            family: block.match.family.name,
            weight: block.weightName,
            bias: block.biasName,
            epsilon: block.block.epsilon,
          })),
          passed: conversion.plan.passed.length,
          dropped: conversion.plan.dropped,
          refusals: [],
          notes: conversion.plan.notes,
        }
      : {
          format: "onnx",
          key: "",
          prefix: "",
          form: conversion.plan.regions.length > 0 ? "training" : "deploy",
          blocks: conversion.applied.regions.map(({ region, weight, bias }) => ({
            ...regionFacts(region),
            family: null,
            weight,
            bias: bias ?? null,
            epsilon: null,
          })),
          passed: null,
          dropped: [],
          refusals: conversion.plan.refusals.map(({ output, nodes, reason }) => ({
            output,
            nodes: nodes.map((node) => node.name),
            reason,
          })),
          notes: [],
        }),
    nonFinite: written.nonFinite,
    verification: verification ? verificationPart(verification) : null,
  };
}
