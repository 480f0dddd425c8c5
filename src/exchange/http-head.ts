import { ShoalError } from '../core/errors.ts';
import { HEADERS_MAX_COUNT } from '../core/limits.ts';

/**
 * Response heads, read strictly (RFC 9110, RFC 9112). A peer is not trusted, and what two parsers read differently is an
 * attack (RFC 9112, 11.2): whatever is ambiguous is refused rather than repaired.
 */
export interface ResponseHead {
  readonly status: number;
  /** By lower-case name. Repeated fields are joined with a comma (RFC 9110, 5.3). */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes in the body, or undefined when it comes in chunks. */
  readonly length: number | undefined;
  /** Whether the connection can be used again once the body has been read. */
  readonly keepAlive: boolean;
}

/** RFC 9112, 4: status-line. The reason phrase says nothing that we use. */
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** RFC 9112, 5: no white space before the colon, no folded lines (they begin with white space, which no name does). */
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;
/** 2^53 has 16 digits: fifteen are always exact. */
const LENGTH = /^[0-9]{1,15}$/;

export function malformed(problem: string): ShoalError {
  return new ShoalError('HTTP_MALFORMED', `the answer is not proper HTTP: ${problem}`, { retry: 'elsewhere' });
}

/** Reads everything up to, and without, the empty line. Throws `HTTP_MALFORMED`. */
export function parseHead(text: string): ResponseHead {
  const lines = text.split('\r\n');
  const status = STATUS_LINE.exec(lines[0] ?? '');
  if (status === null) throw malformed('a status line was expected');
  if (lines.length - 1 > HEADERS_MAX_COUNT) throw malformed(`${String(lines.length - 1)} header fields`);
  const headers = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const field = FIELD_LINE.exec(line);
    if (field === null) throw malformed(`"${printable(line)}" is not a header field`);
    const name = (field[1] ?? '').toLowerCase();
    const value = (field[2] ?? '').trimEnd();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const code = Number(status[2]);
  const old = status[1] === '0';
  return { status: code, headers, length: bodyLength(code, headers, old), keepAlive: keepsAlive(headers, old) };
}

/** RFC 9112, 6.3, less the forms whose end cannot be told from a cut connection. */
function bodyLength(status: number, headers: ReadonlyMap<string, string>, old: boolean): number | undefined {
  const coding = headers.get('transfer-encoding');
  const length = headers.get('content-length');
  if (coding !== undefined) {
    if (length !== undefined) throw malformed('it has both a Content-Length and a Transfer-Encoding');
    if (old || coding.toLowerCase() !== 'chunked') throw malformed(`"${printable(coding)}" is no transfer coding we know`);
  }
  // A repeated field has been joined with a comma, so two lengths never pass for one.
  if (length !== undefined && !LENGTH.test(length)) throw malformed(`"${printable(length)}" is not a length`);
  if (status < 200 || status === 204 || status === 304) return 0;
  if (coding !== undefined) return undefined;
  if (length === undefined) throw malformed('it does not say where its body ends');
  return Number(length);
}

function keepsAlive(headers: ReadonlyMap<string, string>, old: boolean): boolean {
  const options = (headers.get('connection') ?? '').toLowerCase().split(/[ \t]*,[ \t]*/);
  return old ? options.includes('keep-alive') : !options.includes('close');
}

function printable(text: string): string {
  return text.slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
}
