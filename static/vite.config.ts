// How the front end is built: hashed files and a manifest in dist/, which the Django tag reads.

import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative, so the files find each other wherever STATIC_URL puts them.
  base: "./",
  build: {
    outDir: "dist",
    manifest: true,
    sourcemap: true,
    // A data: URL would need a hole in the content security policy.
    assetsInlineLimit: 0,
    // The preload helper of dynamic imports is of use only to browsers without module preloading.
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { app: "src/app.ts", chart: "src/chart.ts" } },
  },
  test: {
    environment: "happy-dom",
    // The contrast test reads the tokens; without this vitest hands out empty style sheets.
    css: true,
    include: ["tests/**/*.test.ts"],
  },
});
