/** @file Where a file fits several readings, the user says which. */

import type { JSX } from "preact";
import type { ModelSlot } from "../model-slot.ts";

const QUESTIONS = {
  key: "This file holds several sets of weights. Which one is meant?",
  family:
    "The tensor names fit several block families, and they would give different results. Which one is it?",
} as const;

export function ChoiceForm({ slot }: { slot: ModelSlot }): JSX.Element | null {
  const state = slot.inspection.state.value;
  const choice = state.type === "failed" ? state.failure.choice : undefined;
  if (!choice) return null;
  return (
    <fieldset class="choice">
      <legend>{QUESTIONS[choice.about]}</legend>
      {choice.options.map(({ value, label }) => (
        <button
          type="button"
          key={value}
          onClick={() => void slot.specify({ [choice.about]: value })}
        >
          {label}
        </button>
      ))}
    </fieldset>
  );
}
