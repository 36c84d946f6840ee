/** @file Modules that the build makes. */

declare module "virtual:report.css";
