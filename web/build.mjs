// Builds web/src into one module, src/heed/picture/viewer/heed-viewer.js, and writes its SHA-256 beside it, as
// `sha256sum` reads it. `node build.mjs --check` only compares.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const MOST_BYTES = 120_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = here("../src/heed/picture/viewer/heed-viewer.js");

/** SHA-256 over name, NUL, content, NUL of every file of web/src, in the order of their names; tests do the same in Python. */
function sources() {
  const hash = createHash("sha256");
  for (const name of readdirSync(here("src")).sort())
    hash
      .update(name)
      .update("\0")
      .update(readFileSync(here(`src/${name}`)))
      .update("\0");
  return hash.digest("hex");
}

const made = await build({
  entryPoints: [here("src/index.ts")],
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "ascii",
  legalComments: "none",
  loader: { ".css": "text" },
  define: { __SOURCES__: JSON.stringify(sources()) },
  plugins: [squeezed()],
  write: false,
});
const text = made.outputFiles[0].text;
if (/<\/script|<!--/i.test(text))
  throw new Error("expected a bundle that can stand in a script element, found </script or <!-- in it");
if (text.length > MOST_BYTES) throw new Error(`expected at most ${MOST_BYTES} bytes, found ${text.length}`);
const pin = `${createHash("sha256").update(text).digest("hex")}  heed-viewer.js\n`;
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text || readFileSync(`${target}.sha256`, "utf8") !== pin)
    throw new Error("expected the committed bundle and its SHA-256 to be what web/src builds: npm run build");
} else {
  mkdirSync(here("../src/heed/picture/viewer/"), { recursive: true });
  writeFileSync(target, text);
  writeFileSync(`${target}.sha256`, pin);
}
console.log(`${target}: ${text.length} bytes`);

/** Style is carried as text: minified first. */
function squeezed() {
  return {
    name: "squeezed style",
    setup(builder) {
      builder.onLoad({ filter: /\.css$/ }, async ({ path }) => {
        const { code } = await builder.esbuild.transform(readFileSync(path, "utf8"), { loader: "css", minify: true });
        return { contents: code, loader: "text" };
      });
    },
  };
}
