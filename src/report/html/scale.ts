/** @file From values to positions on an axis, linear or logarithmic, and the ticks that belong there. */

import { formatNumber, formatPower } from "./format.ts";

export interface Tick {
  readonly value: number;
  readonly label: string;
}

export interface Scale {
  /** Position between 0 and 1, held inside. */
  at(value: number): number;
  readonly ticks: readonly Tick[];
}

/** More decades than this get a label every second, third … decade. */
const MAX_LABELS = 7;

/** Whole decades around the positive values; without any, one decade around 1. */
export function logScale(values: readonly number[], least: readonly number[] = []): Scale {
  const usable = [...values, ...least].filter((value) => value > 0 && Number.isFinite(value));
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of usable.length > 0 ? usable : [1]) {
    low = Math.min(low, Math.floor(Math.log10(value)));
    high = Math.max(high, Math.ceil(Math.log10(value)));
  }
  if (low === high) [low, high] = [low - 1, high + 1];
  const step = Math.ceil((high - low + 1) / MAX_LABELS);
  const ticks: Tick[] = [];
  for (let exponent = low; exponent <= high; exponent += step) {
    const value = 10 ** exponent;
    const plain = exponent >= -1 && exponent <= 3;
    ticks.push({ value, label: plain ? formatNumber(value) : formatPower(exponent) });
  }
  const at = (value: number): number =>
    value <= 0 ? 0 : held((Math.log10(value) - low) / (high - low));
  return { at, ticks };
}

/** Of the values' own size. */
const LEAST_SPAN = 1e-9;

/** Round ticks over the range of the values. */
export function linearScale(values: readonly number[], targetTicks = 5): Scale {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high] = [0, 1];
  // Nearly equal values as well: their ticks would be finer than numbers are.
  const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
  if (high - low < size * LEAST_SPAN) [low, high] = [low - size / 2, high + size / 2];
  const rough = (high - low) / targetTicks;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const [first, last] = [Math.floor(low / step), Math.ceil(high / step)];
  const ticks: Tick[] = [];
  for (let i = first; i <= last; i++) {
    const value = Number((i * step).toPrecision(12));
    ticks.push({ value, label: formatNumber(value, 4) });
  }
  const [begin, end] = [first * step, last * step];
  return { at: (value) => held((value - begin) / (end - begin)), ticks };
}

function held(position: number): number {
  return Number.isNaN(position) ? 0 : Math.min(1, Math.max(0, position));
}
