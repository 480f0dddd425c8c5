import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Two consecutive releases of a real program, as the lockfile brings them. */
export const releases = ['esbuild-wasm-old', 'esbuild-wasm-new'].map((name) => ({
  version: (require(`${name}/package.json`) as { readonly version: string }).version,
  path: require.resolve(`${name}/esbuild.wasm`),
}));
