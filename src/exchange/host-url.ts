import { ShoalError } from '../core/errors.ts';

/** Scheme, host and port of what somebody gave as the URL of a host. Throws `BAD_URL`. */
export function hostUrl(url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new ShoalError('BAD_URL', `"${url}" is not the URL of a host`, { ids: { url }, hint: 'Give it as http://HOST:PORT or https://HOST.' });
  return new URL(url).origin;
}
