// The viewer as one module: drawn by any host, started by a page, rendered by a notebook.

import { startPage } from "./page";
import { render } from "./widget";

declare const __SOURCES__: string;

export { draw } from "./draw";
export { embedded } from "./embedded";
export { over } from "./kernel";
export { remote } from "./remote";
export { VERSION } from "./scene";
/** SHA-256 of the sources this was built from; a test compares it. */
export const SOURCES: string = __SOURCES__;
export default { render };

startPage(document);
