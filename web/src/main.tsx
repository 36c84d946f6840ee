/** @file Starts the page. */

import { render } from "preact";
import "virtual:report.css";
import "./style.css";
import { startHashState } from "./hash-state.ts";
import { startComparing } from "./page-state.ts";
import { App } from "./views/app.tsx";

startComparing();
startHashState();
render(<App />, document.getElementById("app")!);
