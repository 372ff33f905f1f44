import { defineConfig } from "vitest/config";

// Style is carried as text, as in the bundle.
export default defineConfig({
  define: { __SOURCES__: '"test"' },
  plugins: [
    { name: "style as text", enforce: "pre", load: (id) => (id.endsWith(".css") ? "export default ''" : undefined) },
  ],
  test: { include: ["test/*.test.ts"] },
});
