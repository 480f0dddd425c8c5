import { isShoalError } from '../core/errors.ts';
import type { MdnsOptions } from '../discover/mdns.ts';
import type { Discovery } from '../discover/types.ts';

/** Multicast DNS, where it was asked for or may be had. Throws `DISCOVERY` unless it is optional. */
export async function discover({ optional, ...options }: MdnsOptions & { readonly optional?: boolean }, onError: ((error: unknown, where: string) => void) | undefined): Promise<Discovery | undefined> {
  const { startMdns } = await import('../discover/mdns.ts');
  try {
    return await startMdns(options);
  } catch (error) {
    if (optional !== true || !isShoalError(error, 'DISCOVERY')) throw error;
    onError?.(error, 'mdns');
    return undefined;
  }
}
