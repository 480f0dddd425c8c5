import { createHash } from 'node:crypto';

/**
 * The entity tag (RFC 9110, 8.8.3) of a file of the control plane: a device that has the file can make it from the bytes, and need not
 * remember what a host called them.
 */
export function etagOf(bytes: Uint8Array): string {
  return `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
}
