import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/**
 * Frees what nobody holds any more. V8 hardly counts memory outside its heap when it decides whether to: thousands of
 * installations in one process would leave gigabytes of buffers behind, and the pages of every new one cost time.
 */
export const collectGarbage = runInNewContext('gc') as () => void;
