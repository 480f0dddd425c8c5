import { ShoalError, messageOf } from '../../core/errors.ts';
import type { ErrorIds, Retry } from '../../core/errors.ts';

/** What a check was about when it failed. */
export interface RefusalContext {
  readonly role: string;
  readonly source: string;
}

type Sentence = (role: string, source: string) => string;

const SENTENCES = {
  TUF_SIGNATURE: (role, source) => `the ${role} metadata from ${source} is not signed by the keys this device trusts for it`,
  TUF_EXPIRED: (role, source) => `the ${role} metadata from ${source} has expired`,
  TUF_FREEZE: (role, source) => `${source} shows an old state: its ${role} metadata has expired, so newer releases may be kept from this device`,
  TUF_ROLLBACK: (role, source) => `${source} offers an older ${role} than this device has already seen`,
  TUF_MIX_AND_MATCH: (role, source) => `the ${role} metadata from ${source} is genuine, but not the one that belongs to the rest`,
  TUF_LENGTH: (role, source) => `the ${role} file from ${source} does not have the length that was signed`,
  TUF_HASH: (role, source) => `the ${role} file from ${source} is damaged: it is not the one that was signed`,
  TUF_ENDLESS: (role, source) => `${source} sends more for the ${role} file than it can have`,
  TUF_MALFORMED: (role, source) => `the ${role} metadata from ${source} cannot be read`,
  TUF_MISSING: (role, source) => `${source} has no ${role} file`,
  TUF_TIMEOUT: (role, source) => `${source} did not deliver the ${role} file in time`,
} as const satisfies Record<string, Sentence>;

export type TufRefusal = keyof typeof SENTENCES;

/** A refusal of what a source says. Another source may be honest, or up to date. */
export function refusal(code: TufRefusal, { role, source }: RefusalContext, details: { cause?: unknown; hint?: string } = {}): ShoalError {
  const sentence: Sentence = SENTENCES[code];
  const reason = details.cause === undefined ? '' : ` (${messageOf(details.cause)})`;
  return new ShoalError(code, sentence(role, source) + reason, { ...details, ids: { role, source }, retry: 'elsewhere' });
}

/** A refusal of the release itself: genuine, but not for this device. */
export function unfit(code: string, message: string, ids: ErrorIds, hint?: string, retry: Retry = 'never'): ShoalError {
  return new ShoalError(code, message, { ids, retry, ...(hint === undefined ? {} : { hint }) });
}
