/**
 * The parts of tuf-js that a device uses. `TrustedMetadataStore` is the heart of its `Updater`: every check of the TUF
 * client workflow, on bytes. The `Updater` around it writes plain files, hides the reason of a refusal in a text, and
 * takes the machine's clock (docs/decisions/0010-tuf-js-without-its-updater.md). The version is pinned.
 */
export { TrustedMetadataStore } from 'tuf-js/dist/store.js';
export { BadVersionError, EqualVersionError, ExpiredMetadataError } from 'tuf-js/dist/error.js';
export { LengthOrHashMismatchError, UnsignedMetadataError } from '@tufjs/models/dist/error.js';
