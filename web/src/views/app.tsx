/** @file The page. */

import type { JSX } from "preact";
import { exampleTask } from "../drop.ts";
import { training } from "../page-state.ts";
import { ConvertPanel } from "./convert-panel.tsx";
import { CurveSection } from "./curve-section.tsx";
import { DropZone } from "./drop-zone.tsx";
import { CostTable, FileFacts, hasBranches } from "./file-facts.tsx";
import { NetSection } from "./net-section.tsx";
import { RaceSection } from "./race-section.tsx";
import { TaskStatus } from "./task-status.tsx";
import { VerdictSection } from "./verdict-section.tsx";

export function App(): JSX.Element {
  const subject = training.subject.value;
  const view = training.view.value;
  return (
    <main>
      <header>
        <h1>reparam</h1>
        <p class="lead">
          Fuse a network that was trained with branches into plain convolutions, prove that both are
          the same function, and see why when they are not.
        </p>
      </header>
      <DropZone />
      <TaskStatus task={exampleTask} label="Preparing the example" />
      <CurveSection />
      <VerdictSection />
      {view && subject && (
        <>
          <section aria-labelledby="file">
            <h2 id="file">{hasBranches(view) ? "The training form" : "The file"}</h2>
            <FileFacts view={view} subject={subject} />
            <CostTable view={view} />
          </section>
          <NetSection view={view} subject={subject} />
          <ConvertPanel view={view} subject={subject} />
          <RaceSection view={view} subject={subject} />
        </>
      )}
      <footer class="soft">
        <p>
          Everything on this page happens in your browser: files are read in place, in the part that
          is needed, and no request leaves this page. The same engine is a command line and a
          library.
        </p>
      </footer>
    </main>
  );
}
