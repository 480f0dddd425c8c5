import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import { unreadable } from '../store/files.ts';
import { emit, formatBytes, progress, say } from './output.ts';

/** Tokens in a file, one a line; lines that begin with # are comments. Throws `BAD_TOKEN`, `NO_SUCH_FILE`. */
async function readTokens(path: string): Promise<readonly string[]> {
  const { readWhole } = await import('../store/durable.ts');
  const { nodeFiles } = await import('../store/files.ts');
  const bytes = await readWhole(nodeFiles, path, 65_536);
  const lines = Buffer.from(bytes ?? []).toString('utf8').split('\n').map((line) => line.trim());
  const tokens = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const usable = tokens.length > 0 && tokens.every((token) => /^[\x21-\x7e]{16,512}$/.test(token));
  if (!usable) throw new ShoalError('BAD_TOKEN', `${path} holds no usable token`, { ids: { path }, hint: 'One a line, 16 to 512 characters; "shoal origin --upload-token FILE" makes one where there is none.' });
  return tokens;
}

/** The tokens in `path`, after making one there when there is no such file. */
export async function tokensIn(path: string, made = 'A token for uploads was made; publishers need it'): Promise<readonly string[]> {
  const { nodeFiles } = await import('../store/files.ts');
  if ((await nodeFiles.stat(path)) === undefined) {
    const { randomBytes } = await import('node:crypto');
    const { writeDurably } = await import('../store/durable.ts');
    await writeDurably(nodeFiles, path, Buffer.from(`${randomBytes(32).toString('base64url')}\n`), { permissions: 0o600 });
    say(`${made}: ${path}`);
  }
  return readTokens(path);
}

async function readCa(path: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw unreadable(cause, path, 'the CA');
  }
}

export function addUpload(program: Command): void {
  program
    .command('upload')
    .summary('bring a staged release to an origin and publish it')
    .description('Bring a staging directory to an origin and publish it there. Goes on where it was interrupted.')
    .argument('<staging>', 'directory that "shoal publish --staging", rotate or retire made')
    .argument('<origin>', 'URL of an origin that runs with --upload-token')
    .requiredOption('--token <file>', 'file with the token of the origin')
    .option('--ca <file>', "the fleet's CA (HOME/fleet/ca.pem), for an origin that speaks TLS with certificates of the fleet")
    .option('--insecure-http', 'send the token to an origin outside this machine without TLS: whoever is on the way has it then')
    .option('--deltas-later', 'show devices the release at once: its deltas follow')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nOnly what the origin lacks is sent. It checks the signatures before it takes any content, every piece when it arrives,\nand shows the release to devices when all of it is there and its deltas are made, or the time for these is over.\n\nExample:\n  shoal publish rootfs.img --name os --version 2 --home offline --staging out\n  shoal upload out https://origin.example:8470 --token upload.token --ca ca.pem')
    .action(async (staging: string, origin: string, options: { token: string; ca?: string; insecureHttp?: boolean; deltasLater?: boolean; json?: boolean }) => {
      const { uploadRelease } = await import('../roles/upload.ts');
      if (!URL.canParse(origin)) throw new ShoalError('BAD_USAGE', `"${origin}" is not a URL`, { hint: 'For example https://origin.example:8470' });
      const ca = options.ca === undefined ? undefined : await readCa(options.ca);
      const [token = ''] = await readTokens(options.token);
      const bar = progress('uploading');
      let waiting = false;
      const stop = new AbortController();
      const interrupt = (): void => {
        stop.abort(new ShoalError('INTERRUPTED', 'interrupted', { retry: 'again' }));
      };
      process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
      try {
        const { changed, releases, deltas, ledger } = await uploadRelease({
          staging, origin, token, ...(ca === undefined ? {} : { ca }), ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }), signal: stop.signal, onProgress: bar.update,
          ...(options.deltasLater === true ? { deltasLater: true } : {}),
          onDeltas: () => {
            bar.stop();
            if (!waiting) say('All of it has arrived; the origin makes deltas before devices see it.');
            waiting = true;
          },
        });
        bar.stop();
        for (const { product, version } of releases) say(`${product} ${version} is published.`);
        if (deltas > 0) say(`${String(deltas)} deltas were made before.`);
        if (!changed) say('All of it was published before.');
        say(`${formatBytes(ledger.sent)} sent for ${formatBytes(ledger.artifactBytes)} of content.`);
        if (options.json === true) emit({ ok: true, changed, releases, deltas, ledger });
      } catch (error) {
        if (stop.signal.aborted) throw new ShoalError('INTERRUPTED', 'interrupted; what has arrived is kept', { cause: error, retry: 'again', hint: 'The same command goes on from there.' });
        throw error;
      } finally {
        bar.stop();
        process.removeListener('SIGINT', interrupt).removeListener('SIGTERM', interrupt);
      }
    });
}
