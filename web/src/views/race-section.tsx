/** @file Both forms run side by side on the visitor's machine. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { formatDuration } from "../../../src/report/html/format.ts";
import { deploy, ownInput, race } from "../page-state.ts";
import type { FileView, RaceForm, RaceView, Subject } from "../worker/protocol.ts";
import { callWorker } from "../worker-client.ts";
import { FilePicker } from "./file-picker.tsx";
import { TaskStatus } from "./task-status.tsx";

const SIZES = [32, 64, 128, 224, 320, 416] as const;
const DEFAULT_SIZE = 224;
const hasGpu = "gpu" in navigator;

export function RaceSection({
  view,
  subject,
}: {
  view: FileView;
  subject: Subject;
}): JSX.Element | null {
  const size = useSignal<number>(DEFAULT_SIZE);
  const provider = useSignal<"wasm" | "webgpu">("wasm");
  if (!view.targets.includes("onnx")) return null;
  const state = race.state.value;
  const image = ownInput.value && !/\.npy$/i.test(ownInput.value.name) ? ownInput.value : undefined;
  const start = (): void => {
    const params = {
      training: subject,
      deploy: deploy.view.value ? deploy.subject.value : undefined,
      provider: provider.value,
      size: size.value,
      image,
    };
    void race.run((options) => callWorker("race", params, options));
  };
  return (
    <section aria-labelledby="race">
      <h2 id="race">On this machine</h2>
      <p>
        Runs both forms with onnxruntime in this browser, one after the other in turns, batch 1
        {image ? (
          <>
            , on <code>{image.name}</code>.{" "}
            <button type="button" class="link" onClick={() => (ownInput.value = undefined)}>
              Use noise instead
            </button>
          </>
        ) : (
          ", on noise or on an image of yours."
        )}
      </p>
      <p class="actions">
        {hasOpenSize(view) && (
          <label class="field">
            Input size
            <select
              value={size.value}
              onChange={(event) => (size.value = Number(event.currentTarget.value))}
            >
              {SIZES.map((n) => (
                <option key={n} value={n}>
                  {n}×{n}
                </option>
              ))}
            </select>
          </label>
        )}
        {hasGpu && (
          <label class="field">
            Backend
            <select
              value={provider.value}
              onChange={(event) =>
                (provider.value = event.currentTarget.value === "webgpu" ? "webgpu" : "wasm")
              }
            >
              <option value="wasm">CPU (wasm)</option>
              <option value="webgpu">WebGPU</option>
            </select>
          </label>
        )}
        <button type="button" class="primary" disabled={state.type === "running"} onClick={start}>
          Run both forms
        </button>
        <FilePicker
          label="Choose an image"
          accept="image/*"
          onFile={(file) => {
            ownInput.value = file;
          }}
        />
      </p>
      <TaskStatus task={race} label="Running" />
      {state.type === "done" && <RaceResult result={state.result} />}
    </section>
  );
}

/** A model that declares its size runs at that one. */
function hasOpenSize({ inspection }: FileView): boolean {
  const shape = inspection.kind === "onnx" ? inspection.inputs[0]?.shape : undefined;
  return !shape || shape.slice(2).some((dim) => typeof dim !== "number");
}

function RaceResult({ result }: { result: RaceView }): JSX.Element {
  const { training, deploy: fused, runtime, shape, rounds, image } = result;
  const longest = Math.max(training.highMs, fused.highMs);
  return (
    <>
      <table class="race">
        <caption>
          Median of {rounds} runs with the middle half of them as the lighter bar, input [
          {shape.join(", ")}], {runtime}. The runtime may fuse Conv and BatchNorm by itself, so the
          training form is at its best here. The deploy form takes{" "}
          <b>{((fused.medianMs / training.medianMs) * 100).toFixed(0)} %</b> of the training form's
          time.
        </caption>
        <thead>
          <tr>
            <th scope="col">form</th>
            <th scope="col" class="track">
              <span class="visually-hidden">bar</span>
            </th>
            <th scope="col" class="number">
              latency
            </th>
          </tr>
        </thead>
        <tbody>
          <RaceRow name="training" form={training} longest={longest} />
          <RaceRow name="deploy" form={fused} longest={longest} />
        </tbody>
      </table>
      {image !== undefined && training.top.length > 0 && <TopClasses result={result} />}
    </>
  );
}

function RaceRow({
  name,
  form,
  longest,
}: {
  name: "training" | "deploy";
  form: RaceForm;
  longest: number;
}): JSX.Element {
  const percent = (ms: number): string => `${(ms / longest) * 100}%`;
  return (
    <tr class={`slot-${name}`}>
      <th scope="row">{name} form</th>
      <td class="track">
        <span class="lane" aria-hidden="true">
          <i class="bar" style={{ width: percent(form.medianMs) }} />
          <i
            class="spread"
            style={{ left: percent(form.lowMs), width: percent(form.highMs - form.lowMs) }}
          />
        </span>
      </td>
      <td class="number">{formatDuration(form.medianMs)}</td>
    </tr>
  );
}

function TopClasses({ result }: { result: RaceView }): JSX.Element {
  const show = (form: RaceForm, i: number): string => {
    const entry = form.top[i];
    return entry ? `class ${entry.index}, ${(entry.probability * 100).toFixed(2)} %` : "–";
  };
  return (
    <table class="costs">
      <caption>What each form says to {result.image}: the most probable classes by index.</caption>
      <thead>
        <tr>
          <th scope="col">rank</th>
          <th scope="col" class="number">
            training form
          </th>
          <th scope="col" class="number">
            deploy form
          </th>
        </tr>
      </thead>
      <tbody>
        {result.training.top.map((_, i) => (
          <tr key={i}>
            <th scope="row">{i + 1}</th>
            <td class="number">{show(result.training, i)}</td>
            <td class="number">{show(result.deploy, i)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
