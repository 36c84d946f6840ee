/** @file A training run's curves. */

import type { JSX } from "preact";
import { curveMarkup } from "../../../src/report/html/curve-markup.ts";
import { curve } from "../page-state.ts";
import { figureWidth } from "../page-width.ts";
import { MarkupView } from "./markup-view.tsx";
import { TaskStatus } from "./task-status.tsx";

export function CurveSection(): JSX.Element | null {
  const state = curve.state.value;
  if (state.type === "idle") return null;
  return (
    <section aria-labelledby="curve">
      <h2 id="curve">
        The training run{state.type === "done" && <code class="beside"> {state.result.name}</code>}
      </h2>
      <TaskStatus task={curve} label="Reading the log" />
      {state.type === "done" && <MarkupView html={curveMarkup(state.result, figureWidth.value)} />}
      {state.type !== "running" && (
        <p>
          <button type="button" class="quiet" onClick={curve.reset}>
            Close
          </button>
        </p>
      )}
    </section>
  );
}
