/** @file One of the page's two model files: what was dropped, what the user said about it, what is known of it. */

import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { createTask, type Task } from "./task.ts";
import type { FileView, Subject } from "./worker/protocol.ts";
import { callWorker } from "./worker-client.ts";

export interface ModelSlot {
  readonly subject: Signal<Subject | undefined>;
  readonly inspection: Task<FileView>;
  /** The file's description once it is known. */
  readonly view: ReadonlySignal<FileView | undefined>;
  /** Takes a new file, or forgets the old one. */
  fill(file: File | undefined): Promise<void>;
  /** Reads the same file again with what the user has said about it. */
  specify(choice: Partial<Pick<Subject, "key" | "family" | "epsilon">>): Promise<void>;
}

let lastId = 0;

export function createModelSlot(): ModelSlot {
  const subject = signal<Subject | undefined>(undefined);
  const inspection = createTask<FileView>();
  const inspect = async (next: Subject): Promise<void> => {
    subject.value = next;
    await inspection.run((options) => callWorker("inspect", { subject: next }, options));
  };
  return {
    subject,
    inspection,
    view: computed(() => {
      const state = inspection.state.value;
      return state.type === "done" ? state.result : undefined;
    }),
    fill: async (file) => {
      if (file) {
        await inspect({
          id: ++lastId,
          file,
          key: undefined,
          family: undefined,
          epsilon: undefined,
        });
      } else {
        subject.value = undefined;
        inspection.reset();
      }
    },
    specify: async (choice) => {
      if (subject.value) await inspect({ ...subject.value, ...choice });
    },
  };
}

/** Puts each slot's content into the other, without reading again. */
export function swapSlots(a: ModelSlot, b: ModelSlot): void {
  const [subject, state] = [a.subject.value, a.inspection.state.value];
  a.subject.value = b.subject.value;
  a.inspection.state.value = b.inspection.state.value;
  b.subject.value = subject;
  b.inspection.state.value = state;
}
