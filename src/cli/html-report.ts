/** @file `--report FILE`: the result as one self-contained HTML document. */

import { type Command, Option } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { ReportSubject } from "../report/html/report.ts";

export interface ReportFlags {
  readonly report?: string;
  readonly force?: boolean;
}

/** Adds `--report`, and `--force` where the command has none for its own output. */
export function addReportOption(command: Command): Command {
  command.addOption(
    new Option("--report <file>", "also write the result as an HTML document, figures included"),
  );
  if (!command.options.some((option) => option.long === "--force")) {
    command.option("--force", "overwrite an existing report");
  }
  return command;
}

/** Checked before the work starts. @throws usage */
export function checkReportName({ report }: ReportFlags): void {
  if (report === undefined || /\.html?$/i.test(report)) return;
  throw new ReparamError("usage", {
    where: "--report",
    what: `${JSON.stringify(report)}, expected a file name that ends in .html`,
  });
}

/** Writes the document if one was asked for; nothing half-written. @throws cannot-write */
export async function writeReport(
  { report, force = false }: ReportFlags,
  subject: () => ReportSubject | Promise<ReportSubject>,
): Promise<void> {
  if (report === undefined) return;
  const { createFileSink } = await import("../host/file-sink.ts");
  const { renderReport } = await import("../report/html/report.ts");
  const sink = await createFileSink(report, { force });
  try {
    await sink.write(new TextEncoder().encode(renderReport(await subject())));
    await sink.close();
  } finally {
    await sink.abort();
  }
}
