/** @file How wide the page is, for figures that are drawn to fit. */

import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** Of the page, left and right together. */
const MARGINS = 32;
const WIDEST_FIGURE = 680;
/** Browsers report widths near zero for pages that are not shown yet; an axis and two names need this much. */
const NARROWEST_FIGURE = 240;

function measured(): number {
  return Math.max(NARROWEST_FIGURE, document.documentElement.clientWidth - MARGINS);
}

/** Inside the page's margins. */
export const pageWidth: Signal<number> = signal(measured());
export const figureWidth: ReadonlySignal<number> = computed(() =>
  Math.min(WIDEST_FIGURE, pageWidth.value),
);

addEventListener("resize", () => {
  pageWidth.value = measured();
});
