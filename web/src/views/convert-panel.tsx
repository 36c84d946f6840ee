/** @file Buttons that make the deploy form, and the file that comes out. */

import type { JSX } from "preact";
import type { TargetFormat } from "../../../src/convert/conversion.ts";
import { formatBytes, plural } from "../../../src/report/format.ts";
import { formatDuration } from "../../../src/report/html/format.ts";
import { download } from "../download.ts";
import { conversion, deploy, openInSlot } from "../page-state.ts";
import type { ConvertedView, FileView, Subject } from "../worker/protocol.ts";
import { callWorker } from "../worker-client.ts";
import { TaskStatus } from "./task-status.tsx";

const LABELS: Readonly<Record<TargetFormat, string>> = {
  pytorch: ".pth",
  safetensors: ".safetensors",
  onnx: ".onnx",
};

export function ConvertPanel({
  view,
  subject,
}: {
  view: FileView;
  subject: Subject;
}): JSX.Element | null {
  if (view.targets.length === 0) return null;
  const state = conversion.state.value;
  const convert = (target: TargetFormat): void => {
    void conversion.run((options) => callWorker("convert", { subject, target }, options));
  };
  return (
    <section aria-labelledby="convert">
      <h2 id="convert">The deploy form</h2>
      <CanRun view={view} />
      <p class="actions">
        {view.targets.map((target) => (
          <button
            type="button"
            key={target}
            class="primary"
            disabled={state.type === "running"}
            onClick={() => convert(target)}
          >
            Convert to {LABELS[target]}
          </button>
        ))}
      </p>
      <TaskStatus task={conversion} label="Converting" />
      {state.type === "done" && <Converted result={state.result} />}
    </section>
  );
}

function CanRun({ view }: { view: FileView }): JSX.Element | null {
  if (view.targets.includes("onnx")) return null;
  return (
    <p class="soft">
      The blocks of this checkpoint are known, the network around them is not, so it cannot become
      an ONNX model. Export the training form to ONNX in PyTorch and drop that file instead.
    </p>
  );
}

function Converted({ result }: { result: ConvertedView }): JSX.Element {
  const { file, verdict, nonFinite, elapsedMs } = result;
  return (
    <div class="converted" role="status">
      <p>
        <button type="button" class="primary" onClick={() => download(file)}>
          Download {file.name}
        </button>{" "}
        <span class="soft size">{formatBytes(file.size)}</span>
      </p>
      <p>
        Written, read back and compared in {formatDuration(elapsedMs)}: <code>{verdict.word}</code>,{" "}
        {verdict.reasons[0]}.
      </p>
      {nonFinite.length > 0 && (
        <p>
          {plural(nonFinite.length, "tensor")} passed through with NaN or infinity:{" "}
          <code>{nonFinite.map(({ name }) => name).join(", ")}</code>
        </p>
      )}
      {!deploy.subject.value && (
        <p>
          <button type="button" class="link" onClick={() => void openInSlot("deploy", file)}>
            Compare it with the training form, block by block
          </button>
        </p>
      )}
    </div>
  );
}
