import { Type } from '@fastify/type-provider-typebox';
import { ANNOUNCE_MAX_ROOTS, LEAF_MAX_CHUNKS, NAME_MAX_LENGTH } from '../core/limits.ts';

/** What may stand in a request, exactly; everything else is 400 before a handler runs. */

/** As src/core/names.ts: one alphabet, no "..". */
const NAME_PATTERN = '^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9._+-]*$';

export const Name = Type.String({ minLength: 1, maxLength: NAME_MAX_LENGTH, pattern: NAME_PATTERN });
export const Id = Type.String({ minLength: 64, maxLength: 64, pattern: '^[0-9a-f]{64}$', description: 'BLAKE3-256, 64 lower-case hexadecimal digits' });
/** Canonical decimal: one span has one URL. Ten digits hold every span number. */
export const SpanNumber = Type.String({ maxLength: 10, pattern: '^(0|[1-9][0-9]*)$' });
/** The form is checked here, order and bounds against the span itself. */
export const ChunkSet = Type.String({ maxLength: LEAF_MAX_CHUNKS * 5, pattern: '^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$', description: 'ascending chunk positions, runs joined by commas: 0-3,7' });

export const KeyParams = Type.Object({ namespace: Name, root: Id });
export const PageParams = Type.Object({ namespace: Name, root: Id, id: Id });
export const BaseParams = Type.Object({ namespace: Name, root: Id, base: Id });
export const SpanParams = Type.Object({ namespace: Name, root: Id, span: SpanNumber });
export const SetParams = Type.Object({ namespace: Name, root: Id, span: SpanNumber, set: ChunkSet });

/** `3.root.json`, `timestamp.json`, `3.product-x.json`. */
export const MetadataParams = Type.Object({ file: Type.String({ maxLength: NAME_MAX_LENGTH + 32, pattern: '^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9._+-]*\\.json$' }) });
/** Segments as names are, joined by slashes. */
export const TargetParams = Type.Object({ '*': Type.String({ minLength: 1, maxLength: 512, pattern: '^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*$' }) });

/** `1.4.0.torrent` of a product. */
export const TorrentParams = Type.Object({ product: Name, file: Type.String({ maxLength: NAME_MAX_LENGTH + 8, pattern: '^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9._+-]*\\.torrent$' }) });
export const ArtifactOfTorrent = Type.Object({ product: Name, version: Name, folder: Type.String({ maxLength: 2 * NAME_MAX_LENGTH + 1 }), artifact: Name });

export const SiteParams = Type.Object({ site: Name });
export const PeerParams = Type.Object({ site: Name, instance: Name });
export const Announcement = Type.Object(
  { url: Type.String({ maxLength: 256, pattern: '^https?://[A-Za-z0-9._:\\[\\]-]+/?$' }), roots: Type.Array(Id, { maxItems: ANNOUNCE_MAX_ROOTS }) },
  { additionalProperties: false },
);

export const Holdings = Type.Object({
  instance: Type.String(),
  role: Type.String(),
  artifacts: Type.Array(Type.Object({
    namespace: Type.String(), root: Type.String(), size: Type.Integer(), spans: Type.Integer(), held: Type.Integer(),
    product: Type.Optional(Type.String()), version: Type.Optional(Type.String()),
    working: Type.Optional(Type.Boolean()), bringing: Type.Optional(Type.Array(Type.Integer())), base: Type.Optional(Type.String()),
  })),
  received: Type.Optional(Type.Record(Type.String(), Type.Number())),
  sent: Type.Optional(Type.Object({ content: Type.Number(), control: Type.Number() })),
});
export const Peers = Type.Object({ peers: Type.Array(Type.Object({ instance: Type.String(), url: Type.String(), roots: Type.Array(Type.String()) })) });
export const Torrents = Type.Object({ torrents: Type.Array(Type.Object({ product: Type.String(), version: Type.String(), url: Type.String() })) });
export const Instance = Type.Object({ instance: Type.String(), role: Type.String() });
export const RootParams = Type.Object({ root: Id });
export const Uses = Type.Object({ uses: Type.Array(Type.Object({ namespace: Type.String(), product: Type.String() })) });
export const Health = Type.Object({ role: Type.String(), version: Type.String(), instance: Type.String() }, { additionalProperties: true });
