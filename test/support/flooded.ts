import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { Server } from './processes.ts';
import { ask } from './raw-http.ts';

const FLOODER = fileURLToPath(new URL('./flooder.ts', import.meta.url));

/** Bytes resident now, and the most there ever were. */
export function memoryOf(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024;
  return { now: kilobytes('VmRSS'), peak: kilobytes('VmHWM') };
}

export interface Flooded {
  /** Bytes, since the host began. */
  readonly peak: number;
  /** Of every honest answer, milliseconds, ascending. */
  readonly times: readonly number[];
}

/** Floods a host for `ms` from a process of its own, and asks it for a page meanwhile as somebody honest. Linux only. */
export async function flood(name: string, host: Server, pagePath: string, ms: number): Promise<Flooded> {
  const flooder = spawn(process.execPath, [FLOODER, name, host.url, pagePath], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(flooder, 'close');
  let turns = '0';
  const begun = once(flooder.stdout.setEncoding('utf8').on('data', (text: string) => { turns = text.trim().split('\n').at(-1) ?? turns; }), 'data');
  const times: number[] = [];
  try {
    await begun;
    const until = performance.now() + ms;
    while (performance.now() < until) {
      const from = performance.now();
      expect((await ask(host.url, pagePath)).status).toBe(200);
      times.push(performance.now() - from);
      await delay(20);
    }
  } finally {
    flooder.kill('SIGKILL');
    await ended;
  }
  times.sort((a, b) => a - b);
  const { peak } = memoryOf(host.pid);
  console.log(`${name}: ${String(times.length)} honest answers, median ${percentile(times, 0.5).toFixed(0)} ms, worst ${percentile(times, 1).toFixed(0)} ms; ${(peak / 1e6).toFixed(0)} MB resident at most; ${turns} turns of the flood`);
  return { peak, times };
}

export function percentile(ascending: readonly number[], part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(part * ascending.length))] ?? NaN;
}
