import { ShoalError } from './errors.ts';
import { NAME_MAX_LENGTH } from './limits.ts';

/**
 * The names people give things. All of them end up in URLs, file names, TUF role names and paths, so they share one
 * narrow alphabet: no separators, nothing that a path or a shell treats specially, no leading dot.
 */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;

export type NameKind = 'product' | 'version' | 'namespace' | 'site' | 'hardware' | 'artifact' | 'role' | 'feature' | 'instance';

export function isName(text: string): boolean {
  return text.length <= NAME_MAX_LENGTH && NAME.test(text) && !text.includes('..');
}

/** Returns `text` when it is a usable name. Throws `BAD_NAME` with the rule otherwise. `hint`: what to do about it. */
export function parseName(kind: NameKind, text: string, hint?: string): string {
  if (isName(text)) return text;
  throw new ShoalError(
    'BAD_NAME',
    `"${text.slice(0, 80)}" cannot be ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} name: use 1 to ${String(NAME_MAX_LENGTH)} letters, digits, ".", "_", "+" or "-", beginning with a letter or digit, without ".."`,
    hint === undefined ? {} : { hint },
  );
}

/** The namespace of a home that was not given another one. */
export const DEFAULT_NAMESPACE = 'default';
