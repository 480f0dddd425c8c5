import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ShoalError } from '../../src/core/errors.ts';
import type { RepositoryFiles } from '../../src/trust/repository/files.ts';
import type { MetadataFetcher } from '../../src/trust/types.ts';

/** What a hostile server does with a file: other bytes, nothing, or `endless` without a stop. */
export type Tamper = (path: string, bytes: Uint8Array | undefined) => Uint8Array | undefined | 'endless' | Promise<Uint8Array | undefined>;

/** A real HTTP server over a repository, as an origin would have one, that may lie. */
export async function serveTuf(files: RepositoryFiles): Promise<{ url: string; requests: string[]; tamper: Tamper; close(): Promise<void> }> {
  const self = { url: '', requests: [] as string[], tamper: ((_path, bytes) => bytes) as Tamper, close: async (): Promise<void> => Promise.resolve() };
  const server = createServer((request, response) => {
    void (async () => {
      const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname);
      self.requests.push(path);
      const [, kind, ...rest] = path.split('/');
      const name = rest.join('/');
      const honest = kind === 'metadata' ? await files.metadata(name) : await files.target(name);
      const answer = await self.tamper(path, honest);
      if (answer === undefined) return response.writeHead(404).end();
      if (answer !== 'endless') return response.end(answer);
      const block = Buffer.alloc(16_384, ' ');
      const more = (): void => {
        while (!response.destroyed && response.write(block));
      };
      response.on('drain', more);
      more();
      return response;
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  self.url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  self.close = () =>
    new Promise((resolve) => {
      server.close(() => {
        resolve();
      });
      server.closeAllConnections();
    });
  return self;
}

/** A bounded fetcher over `fetch`. */
export function httpFetcher(base: string): MetadataFetcher {
  return {
    source: base,
    async fetch(kind, path, maxBytes, signal) {
      const url = `${base}/${kind === 'metadata' ? 'metadata' : 'targets'}/${path.split('/').map(encodeURIComponent).join('/')}`;
      const response = await fetch(url, { signal });
      if (response.status === 404) return undefined;
      const parts: Uint8Array[] = [];
      let total = 0;
      for await (const part of response.body ?? []) {
        total += part.byteLength;
        if (total > maxBytes) throw new ShoalError('TOO_LONG', `${url} is longer than ${String(maxBytes)} bytes`);
        parts.push(part);
      }
      return Buffer.concat(parts);
    },
  };
}
