import { readFile, readdir } from 'node:fs/promises';

/** Ticks of the kernel's clock a second (sysconf _SC_CLK_TCK; 100 on every Linux that Node runs on). */
const TICKS = 100;

/** What a process has taken so far. */
export interface Usage {
  readonly seconds: number;
  /** Largest resident set, bytes. */
  readonly peak: number;
  /** Files and sockets. */
  readonly open: number;
  /** TCP connections of its network, which is its own: established now. */
  readonly connections: number;
}

/** Undefined when it is not there any more. */
export async function usageOf(pid: number): Promise<Usage | undefined> {
  try {
    const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8');
    // After the name in brackets, which may have blanks: fields 14 and 15 are user and system time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const status = await readFile(`/proc/${String(pid)}/status`, 'utf8');
    const open = await readdir(`/proc/${String(pid)}/fd`);
    // The fourth field is the state; 01 is established.
    const tcp = (await readFile(`/proc/${String(pid)}/net/tcp`, 'utf8')).split('\n').filter((each) => each.trim().split(/\s+/)[3] === '01');
    return {
      seconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
      peak: Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
      open: open.length,
      connections: tcp.length,
    };
  } catch {
    return undefined;
  }
}

/** Seconds of all processors together since the start of the machine: busy, idle, and taken by the host for others. */
export async function machine(): Promise<{ readonly busy: number; readonly idle: number; readonly taken: number }> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  return { busy: (user + nice + system + irq + softirq) / TICKS, idle: (idle + wait) / TICKS, taken: steal / TICKS };
}
