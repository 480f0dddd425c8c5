import { zstdCompressAsync } from '../../kernel/zstd.ts';
import type { Coding } from '../types.ts';

/** A fast try tells what is not worth the slow one: media, encrypted and compressed files save less than this. */
const PROBE_LEVEL = 1;
const LEAST_SAVING = 0.02;

/** Compresses a block when that helps, else leaves it as it is. One frame; its window is at most the block's 4 MiB. */
export async function encodeBlock(raw: Uint8Array, level: number): Promise<{ readonly coding: Coding; readonly payload: Uint8Array }> {
  const most = raw.byteLength * (1 - LEAST_SAVING);
  const probe = await zstdCompressAsync(raw, { level: PROBE_LEVEL });
  if (probe.byteLength > most) return { coding: 'identity', payload: raw };
  return { coding: 'zstd', payload: level <= PROBE_LEVEL ? probe : await zstdCompressAsync(raw, { level }) };
}

/** Keeps a frame that came with its content, unless it saves too little: what was only dressed as a frame lies raw again. */
export function keepFrame(raw: Uint8Array, frame: Uint8Array): { readonly coding: Coding; readonly payload: Uint8Array } {
  return frame.byteLength > raw.byteLength * (1 - LEAST_SAVING) ? { coding: 'identity', payload: raw } : { coding: 'zstd', payload: frame };
}
