/** @file The comparison of two files: verdict, ω per block, causes, outputs, noise floor. */

import type { JSX } from "preact";
import { findingsMarkup } from "../../../src/report/html/findings-markup.ts";
import { noiseFigure } from "../../../src/report/html/noise-figure.ts";
import { outputsMarkup, verdictMarkup } from "../../../src/report/html/verdict-markup.ts";
import { deploy, findings, outputs, ownInput, weights } from "../page-state.ts";
import { figureWidth } from "../page-width.ts";
import { FilePicker } from "./file-picker.tsx";
import { MarkupView } from "./markup-view.tsx";
import { TaskStatus } from "./task-status.tsx";

export function VerdictSection(): JSX.Element | null {
  const [first, causes, whole] = [weights.state.value, findings.state.value, outputs.state.value];
  if (!deploy.subject.value || first.type === "idle") return null;
  const verdict =
    whole.type === "done" ? whole.result.verdict : first.type === "done" ? first.result : undefined;
  return (
    <section aria-labelledby="verdict" aria-busy={first.type === "running"}>
      <h2 id="verdict">Are they the same function?</h2>
      <TaskStatus task={weights} label="Comparing weights" />
      {verdict && <MarkupView html={verdictMarkup(verdict)} />}
      {causes.type !== "idle" && (causes.type !== "done" || causes.result.length > 0) && (
        <section aria-labelledby="findings">
          <h2 id="findings">Why they differ</h2>
          <TaskStatus task={findings} label="Looking for the cause" />
          {causes.type === "done" && <MarkupView html={findingsMarkup(causes.result)} />}
        </section>
      )}
      <TaskStatus task={outputs} label="Running both networks" />
      {verdict && whole.type !== "running" && <MarkupView html={outputsMarkup(verdict)} />}
      {verdict && verdict.outputs.length > 0 && <OwnInput />}
      {whole.type === "done" && (
        <MarkupView html={noiseFigure(whole.result.noise, figureWidth.value)} />
      )}
    </section>
  );
}

function OwnInput(): JSX.Element {
  const file = ownInput.value;
  return (
    <p>
      {file ? (
        <>
          Run on <code>{file.name}</code>.{" "}
          <button type="button" class="link" onClick={() => (ownInput.value = undefined)}>
            Use generated inputs again
          </button>
        </>
      ) : (
        <FilePicker
          label="Run on an input of your own"
          accept="image/*,.npy"
          onFile={(chosen) => {
            ownInput.value = chosen;
          }}
        />
      )}
    </p>
  );
}
