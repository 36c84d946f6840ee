/** @file Figures that the report draws too: markup made and escaped by `src/report/html`. */

import type { JSX } from "preact";

export function MarkupView({ html, class: name }: { html: string; class?: string }): JSX.Element {
  return <div class={name} dangerouslySetInnerHTML={{ __html: html }} />;
}
