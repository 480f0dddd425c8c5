import { isIP } from 'node:net';
import { ShoalError } from '../core/errors.ts';

/** Whether bytes to `host` never leave this machine. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

/** What plain HTTP costs, wherever somebody asks for it. */
const PLAIN_HTTP_COSTS = 'anybody on the way can see what is fetched by whom, and anybody who reaches the port can fetch it';

/** Throws `PLAIN_HTTP` when a listener on `host` without TLS would be reachable from outside. */
export function checkListener(host: string, secure: boolean, insecureHttp: boolean | undefined): void {
  if (secure || insecureHttp === true || isLoopback(host)) return;
  throw new ShoalError('PLAIN_HTTP', `without TLS this listens on loopback only, and ${host} is not: ${PLAIN_HTTP_COSTS}`, {
    ids: { host }, hint: 'Give it an identity ("shoal enroll", then --identity DIR), or say --insecure-http.',
  });
}

/** Throws `PLAIN_HTTP` for a host that would be spoken to without TLS outside this machine. */
export function checkHost(url: string, insecureHttp: boolean | undefined): void {
  if (insecureHttp === true || !URL.canParse(url)) return;
  const { protocol, hostname } = new URL(url);
  if (protocol !== 'http:' || isLoopback(hostname)) return;
  throw new ShoalError('PLAIN_HTTP', `${url} is plain HTTP: ${PLAIN_HTTP_COSTS}`, { ids: { url }, hint: 'Use https:// and an identity ("shoal enroll"), or say --insecure-http.' });
}
