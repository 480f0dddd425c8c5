/**
 * Every bound on what is accepted from outside, in one place. Sizes are bytes, times milliseconds. A parser checks its
 * bound before it allocates; a reader stops at its bound whatever the sender claims.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Chunks: the widest range that chunking parameters may ask for. */
export const CHUNK_MIN_BYTES = 4 * KiB;
export const CHUNK_MAX_BYTES = 1 * MiB;

/** Spans: an end is looked for from the minimum on and forced at the maximum (docs/format.md, "Spans"). */
export const SPAN_MIN_BYTES = 1 * MiB;
export const SPAN_MAX_BYTES = 4 * MiB;

/** Entries in a leaf page: 4 MiB in chunks of the least size, and room for the artifact's short last chunk. */
export const LEAF_MAX_CHUNKS = SPAN_MAX_BYTES / CHUNK_MIN_BYTES + 1;

/** Entries in an inner page: four levels of 256 address 2^32 spans. */
export const INNER_FANOUT = 256;

/** Levels above the leaves. 256^4 spans of at least 1 MiB reach far beyond `ARTIFACT_MAX_BYTES`. */
export const INDEX_MAX_LEVEL = 4;

/** The longest encoded page: a full leaf page is 8 + 1,025 × 35 bytes. */
export const PAGE_MAX_BYTES = 8 + LEAF_MAX_CHUNKS * 35;

/** 16 TiB: well inside what a double counts exactly and what 48-bit length fields hold. */
export const ARTIFACT_MAX_BYTES = 16 * 1024 * 1024 * MiB;

/** Spans in the largest artifact (every span but the last has at least `SPAN_MIN_BYTES`). */
export const ARTIFACT_MAX_SPANS = ARTIFACT_MAX_BYTES / SPAN_MIN_BYTES + 1;

/** A release manifest: a few kilobytes in practice. */
export const MANIFEST_MAX_BYTES = 256 * KiB;
export const MANIFEST_MAX_ARTIFACTS = 64;
export const MANIFEST_MAX_HARDWARE = 1024;
export const MANIFEST_MAX_FEATURES = 64;

/** TUF metadata files, each. `root.json` with many keys is tens of kilobytes; a delegated role lists its releases. */
export const METADATA_MAX_BYTES = 4 * MiB;
/** A root or timestamp, whose length nothing announces. Plain tuf-js takes 500 KB and 16 KiB. */
export const ROOT_MAX_BYTES = 500 * 1000;
export const TIMESTAMP_MAX_BYTES = 16 * KiB;
/** New roots that a device walks through in one update (TUF 5.3.3 asks for a bound). */
export const ROOT_MAX_STEPS = 256;

/** Identifiers people choose (product, version, site, hardware): characters. */
export const NAME_MAX_LENGTH = 128;

/** Any JSON control message that is not covered by a tighter bound. */
export const CONTROL_MAX_BYTES = 1 * MiB;

/** zstd frames in one piece of compressed data: a span, each of its chunks a frame of its own. */
export const ZSTD_MAX_FRAMES = LEAF_MAX_CHUNKS;

/** Response header block. Node's own default is 16 KiB. */
export const HEADER_MAX_BYTES = 16 * KiB;

/** Header fields in one answer. Node's own default is 2,000. */
export const HEADERS_MAX_COUNT = 128;

/** Interim answers (1xx, such as 103 Early Hints) before the real one. */
export const HTTP_INTERIM_MAX = 4;
/** Of these, 102 (Processing) says that a gateway is still fetching what was asked for; so often at most, and this often. */
export const HTTP_PROCESSING_MAX = 2_000;
export const PROCESSING_MS = 3_000;

/** Chunked transfer coding: one line of framing, and all trailer fields together. */
export const HTTP_CHUNK_LINE_MAX_BYTES = 1 * KiB;
export const HTTP_TRAILER_MAX_BYTES = 4 * KiB;

/** How much of an error's body is read for its code and sentence. */
export const ERROR_BODY_MAX_BYTES = 16 * KiB;

/** Connections of one client: to one origin, and in all. More than four to one host gain nothing (decision 0001). */
export const CONNECTIONS_PER_ORIGIN = 4;
export const CONNECTIONS_MAX = 64;

/** Peers: in one answer, and remembered for one site. */
export const PEERS_MAX = 512;

/** One request: silence on a connection, and the whole exchange of a control message. */
export const CONNECT_TIMEOUT_MS = 10_000;
export const STALL_TIMEOUT_MS = 20_000;
export const CONTROL_TIMEOUT_MS = 30_000;

/** What one host serves at a time. A content response costs one piece or one chunk, so this is memory. */
export const SERVE_MAX_RESPONSES = 256;
/** Content responses to one device, or to one address where devices are not known: nobody takes all places. */
export const SERVE_MAX_RESPONSES_PER_CLIENT = 128;
export const SERVE_MAX_CONNECTIONS = 2_048;
/** Requests of one device that are looked at in a second, where devices are known: three times what one needs that fetches 300 MB/s. */
export const SERVE_REQUESTS_PER_SECOND = 1_000;
/** Of these: to one address in plain HTTP, which may be a proxy; to one device; to one host that serves many. A device needs four. */
export const SERVE_MAX_CONNECTIONS_PER_ADDRESS = 1_024;
export const SERVE_MAX_CONNECTIONS_PER_DEVICE = 64;
export const SERVE_MAX_CONNECTIONS_PER_HOST = 512;
/** To whoever has no certificate of the fleet and may ask to enrol, to renew or to upload: in all, and from one network. */
export const SERVE_MAX_STRANGERS = 256;
export const SERVE_MAX_STRANGERS_PER_NETWORK = 32;
/** Stored blocks that are decoded and checked at the same time: each costs at most two spans of memory. */
export const SERVE_MAX_CHECKS = 4;
/** Neighbours that get a span while it comes, at a time. */
export const SERVE_MAX_PASSING = 16;
export const SERVE_PIECE_BYTES = 256 * KiB;
/** So many responses at a time get larger pieces, which cost a quarter of the calls: 12 MiB more than if none did. */
export const SERVE_LARGE_PIECES = 16;
export const SERVE_LARGE_PIECE_BYTES = 1 * MiB;
/** Delta objects go out from memory: so much of it for all responses together, beside those that are just being read. */
export const SERVE_DELTA_BYTES = 64 * MiB;
/** And so much of that for one device or address. */
export const SERVE_DELTA_BYTES_PER_CLIENT = 32 * MiB;
/** A request body of the control plane: an announcement is a URL and some roots. */
export const REQUEST_BODY_MAX_BYTES = 64 * KiB;
/** Request line and headers. A chunk set of a full span is 6 KiB at most. */
export const REQUEST_HEAD_MAX_BYTES = 16 * KiB;
/** Requests that one connection may send ahead of their answers. Clients of ours send none, proxies neither. */
export const SERVE_MAX_PIPELINED = 16;
/** Between connecting, or the last answer, and the end of the next request. */
export const REQUEST_TIMEOUT_MS = 15_000;
export const KEEP_ALIVE_MS = 65_000;
/**
 * A response of which not one piece was taken for so long is given up. Long, because the kernel may hold megabytes of a
 * slow link's data and take the next piece only when a third of them is through.
 */
export const SERVE_STALL_MS = 120_000;

/** Announcements: how long one stands, how many roots it may name, how many sites are remembered. */
export const ANNOUNCE_TTL_MS = 300_000;
export const ANNOUNCE_MAX_ROOTS = 256;
export const SITES_MAX = 10_000;
/** Hosts of a site that one device can announce: one that restarts under other names, several agents on one machine. */
export const ANNOUNCED_BY_DEVICE = 8;
/** Hosts and roots of all sites together, some 100 bytes each. */
export const ANNOUNCED_MAX = 2 ** 18;

/** Neighbours one device downloads from at a time; more are only more connections. */
export const NEIGHBOURS_MAX = 16;
/**
 * How often a device that is updating asks who else is there, milliseconds: soon at first, for those who set out with it
 * and are not known yet fetch what it fetches, then ever less often.
 */
export const AGENT_NEWS_FIRST_MS = 250;
export const AGENT_NEWS_MS = 3_000;
/** Spans that a neighbour is believed to be bringing over the backhaul at a time. */
export const BRINGING_MOST = 16;
/** Before the end of this nobody crosses the backhaul for an update: who set out at the same time is heard of by then, milliseconds. */
export const AGENT_SETTLE_MS = 1_000;
/** A device that has listened on its LAN for so long need not wait for that, milliseconds. */
export const AGENT_ACQUAINTED_MS = 5_000;
/** How long whoever keeps the list of neighbours may take: an update does not wait for it any longer, milliseconds. */
export const NEIGHBOURS_TIMEOUT_MS = 2_000;
/** A neighbour that has not said what it holds within this is late; one that cannot be reached is asked again on another connection, milliseconds. */
export const HOLDING_TIMEOUT_MS = 3_000;
/** For how long the answer of one that was reached is waited for all the same, and at most, where it is late again and again, milliseconds. */
export const HOLDING_ANSWER_MS = 12_000;
export const HOLDING_ANSWER_MOST_MS = 48_000;
/** How long a neighbour may take to say what news it has, milliseconds. */
export const NEWS_TIMEOUT_MS = 3_000;
/** Neighbours that were caught with wrong bytes: how many are remembered, and for how long (addresses change hands). */
export const LIARS_MAX = 1_024;
export const LIARS_KEPT_MS = 24 * 3_600_000;

/** What chunks a local file has, kept between runs: 36 bytes for each, so files of some 100 GB; and how many files. */
export const BASE_INDEX_MAX_BYTES = 64 * MiB;
export const BASE_INDEXES_MAX = 64;

/** Spans a gateway fetches at the same time: each costs at most a span raw and a span compressed. */
export const GATEWAY_MAX_FETCHES = 8;
/** On a slow link spans are fetched one after another rather than all at once, so that the first is soon of use: two keep it busy. */
export const GATEWAY_MIN_FETCHES = 2;
/** A span that takes longer means that fewer are fetched at once, one that takes less than a quarter of it that more are, milliseconds. */
export const GATEWAY_SPAN_MS = 4_000;
/** How long a gateway takes `timestamp.json`, and the absence of a file, as its origin last told it. */
export const GATEWAY_POLL_MS = 300_000;
/** How long what is numbered is served without asking again: bounds what a poisoned answer can do. */
export const GATEWAY_RECHECK_MS = 24 * 3_600_000;
/** After a failed connection the upstream is left alone for so long. */
export const UPSTREAM_REST_MS = 2_000;
/** Metadata files a gateway keeps. */
export const GATEWAY_MAX_METADATA_FILES = 4_096;
/** Keys and pages that the origin does not have, remembered for a minute so that nobody makes a gateway ask for them all day. */
export const GATEWAY_MAX_ABSENT = 4_096;
export const GATEWAY_ABSENT_MS = 60_000;

/** Less than this in `STALL_TIMEOUT_MS` is a drip, not a transfer: some 0.8 kB/s, far below the slowest modem link. */
export const STALL_MIN_BYTES = 16 * KiB;

/**
 * One span, as long as it moves: three at a time of 4 MiB each, over the slowest link that is worth anything (some 4 kB/s).
 * What does not move is given up long before, by `STALL_TIMEOUT_MS`.
 */
export const SPAN_TIMEOUT_MS = 3_600_000;
/** How long a device lets a gateway say that it is still fetching, when nothing at all arrives from anyone. */
export const GATEWAY_PATIENCE_MS = 900_000;

/** An unused connection is closed before the usual server does so (Node: 5 s), or a request would meet a closing one. */
export const IDLE_TIMEOUT_MS = 4_000;

/** Uploads: metadata and manifests of one staging directory, and all of them together. */
export const UPLOAD_MAX_FILES = 4_096;
export const UPLOAD_MAX_FILE_BYTES = 64 * MiB;
/** Stagings whose files a server keeps until they are published; the one not touched for longest goes first. */
export const UPLOADS_KEPT = 16;
/** An upload that nobody goes on with gives the store's lock back after so long: before another writer gives up. */
export const UPLOAD_IDLE_MS = 30_000;
/** Bodies of uploads that are received at a time: each costs a span raw and a span compressed. */
export const UPLOAD_MAX_BODIES = 16;
/** Pages and spans named in one answer about what is missing, and spans looked through for it. */
export const UPLOAD_MAX_ASKED = 256;
export const UPLOAD_MAX_WALKED = 4_096;
/** How long a publisher goes on trying when the server does not answer. */
export const UPLOAD_PATIENCE_MS = 120_000;

/** Deltas (docs/delta.md): a segment's target bytes, a base or target, a map page, its covers, a manifest and its entries. */
export const DELTA_SEGMENT_MAX_BYTES = 8 * MiB;
export const DELTA_MAX_BYTES = 2 ** 37;
/** Earlier segments that one segment of a delta may need. */
export const DELTA_MAX_PREREQUISITES = 32;
export const DELTA_PAGE_MAX_BYTES = 4 * MiB;
/** A map page or payload as it travels. */
export const DELTA_OBJECT_MAX_BYTES = DELTA_SEGMENT_MAX_BYTES;
export const DELTA_PAGE_MAX_COVERS = 2 ** 18;
/** Of a whole delta whose references are moved: they take 16 bytes each while it is applied. */
export const DELTA_MOVED_MAX_COVERS = 2 ** 18;
/** And all of its pages, which a device keeps together then. */
export const DELTA_MOVED_MAX_BYTES = 8 * MiB;
/** Spans are at least a MiB, so these are all segments and pages of the largest target. */
export const DELTA_MAX_SEGMENTS = DELTA_MAX_BYTES / SPAN_MIN_BYTES + 1;
export const DELTA_MANIFEST_MAX_BYTES = 24 * MiB;
/** Compressed streams inside an artifact (docs/containers.md): what one may hold and take, and how many of base and target each are seen. */
export const CONTAINER_MAX_HELD = 8 * MiB;
export const CONTAINER_MAX_SIZE = 8 * MiB;
export const CONTAINER_MAX_STREAMS = 2 ** 18;
/** What the target bytes of one segment may hold when they are expanded, and how much of it is made at a time. */
export const CONTAINER_UNIT_MAX_BYTES = 48 * MiB;
export const CONTAINER_PART_BYTES = 4 * MiB;
/** The list of streams in a manifest, before it is compressed. */
export const CONTAINER_VIEWS_MAX_BYTES = 8 * MiB;
/** Expanded base content that is kept while segments are rebuilt. */
export const CONTAINER_CACHE_BYTES = 4 * MiB;

/** Certificates for talking (docs/identity.md): how long one is good, and how far it is dated back for clocks that are behind, milliseconds. */
export const CERTIFICATE_LIFE_MS = 7 * 86_400_000;
export const CERTIFICATE_BACKDATE_MS = 86_400_000;
/** Part of its life after which a device asks for the next one; the rest is for days without the origin. */
export const CERTIFICATE_RENEW_AFTER = 0.6;
/** By how much of its life devices differ in that. */
export const CERTIFICATE_RENEW_SPREAD = 0.2;
/** A device that cannot judge its certificate, because its clock is not set, asks for another one at most this often. */
export const CERTIFICATE_RENEW_LEAST_MS = 3_600_000;
/** PEM of a chain with its CA, and certificates in it. */
export const CERTIFICATES_MAX_BYTES = 32 * KiB;
export const CERTIFICATE_CHAIN_MAX = 4;
/** Products one device may have. */
export const IDENTITY_PRODUCTS_MAX = 32;
/** Revocations: devices listed, and their list; and how long one is listed after the last certificate has expired, for hosts whose clocks are wrong. */
export const REVOCATIONS_MAX = 16_384;
export const REVOCATIONS_MAX_BYTES = 1 * MiB;
export const REVOCATION_KEPT_MS = 30 * 86_400_000;
/** What one artifact is used for, as an origin says it to a gateway. */
export const USES_MAX_BYTES = 64 * KiB;
/** How soon an origin sees what `shoal revoke` wrote. */
export const REVOCATIONS_LOOK_MS = 5_000;
/** Enrolment: a token's uses and life, requests that were refused from one address before it has to wait, and certificates issued in a second. */
export const TOKEN_MAX_USES = 1_000_000;
export const TOKEN_MAX_LIFE_MS = 10 * 365 * 86_400_000;
export const ENROL_REFUSED_MAX = 20;
export const ENROL_REFUSED_MS = 600_000;
export const ENROL_MAX_PER_SECOND = 10;
export const ENROL_BURST = 100;
export const ENROL_BODY_MAX_BYTES = 4 * KiB;
/** An answer with certificates and the revocation list. */
export const GRANT_MAX_BYTES = 4 * CERTIFICATES_MAX_BYTES + 2 * REVOCATIONS_MAX_BYTES;
/** Renewals that a gateway passes on at a time. */
export const RENEWALS_PASSED_ON = 8;
/** Lines of the audit log that are kept. */
export const AUDIT_MAX = 100_000;

/** TLS: a handshake's time, handshakes under way in all and from one network, and new ones from networks that nobody of the fleet came from lately. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
export const HANDSHAKES_MAX = 512;
export const HANDSHAKES_PER_NETWORK = 64;
export const HANDSHAKE_BURST = 64;
export const HANDSHAKES_PER_SECOND = 10;
/** The same for networks that members of the fleet came from: a site behind one address. */
export const MEMBER_HANDSHAKE_BURST = 2_048;
export const MEMBER_HANDSHAKES_PER_SECOND = 100;
/** Sessions a client can go on with, by host; and how long a server lets it, seconds: longer than any polling interval. */
export const TLS_SESSIONS_MAX = 64;
export const TLS_SESSION_S = 86_400;

/** A device keeps the last map pages and payloads it fetched for its neighbours, in memory: no flash is worn for them. */
export const DELTA_CACHE_BYTES = 16 * MiB;
/** Deltas whose segments a device remembers, to say which it has. */
export const DELTA_CACHE_MANIFESTS = 4;
/** Segments that are rebuilt at a time, each in memory of `DELTA_SEGMENT_MAX_BYTES`: one for each core of a small device. */
export const DELTA_LANES = 2;
/** Payloads that are waited for or waiting to be decoded, together; and map pages that are worked through at a time. */
export const DELTA_WAITING_BYTES = 8 * MiB;
export const DELTA_PAGES_OPEN = 3;
/** So many segments that do not come out as they should end a delta. */
export const DELTA_MAX_FAILURES = 3;
/** A base is given up when more than half of at least so many segments do not find in it what they were made from. */
export const DELTA_DRIFT_LEAST = 4;
/** Deltas that were given up, remembered by a device. */
export const DELTA_DROPPED_MAX = 256;

/** Torrents for stock clients: what one may hold, and a .torrent file: 20 bytes a piece, 32,768 pieces. */
export const TORRENT_MAX_BYTES = 2 ** 40;
export const TORRENT_MAX_FILE_BYTES = 4 * MiB;
/** Its pieces are hashed when it is first asked for: how long a client is kept waiting for that, milliseconds. */
export const TORRENT_WAIT_MS = 20_000;
/** The tracker: peers of one torrent, peers told in one answer, and how often a client is to come back, seconds. */
export const SWARM_MAX_PEERS = 2_048;
/** Of these behind one address: many clients share one by NAT, and nobody who makes up ports is to push all others out. */
export const SWARM_PEERS_PER_ADDRESS = 256;
export const SWARM_MAX_TOLD = 50;
export const SWARM_MAX_TORRENTS = 256;
export const SWARM_INTERVAL_S = 120;
/** What a tracker answers: some hundred addresses and a few numbers. */
export const TRACKER_ANSWER_MAX_BYTES = 64 * KiB;

/**
 * An agent among stock BitTorrent clients, where nobody has a certificate: connections in all and to one address, addresses
 * remembered of a torrent, connections being made at a time. Each connection costs some 100 KiB, each that is sent to 256 KiB more.
 */
export const TORRENT_MAX_CONNECTIONS = 48;
export const TORRENT_CONNECTIONS_PER_ADDRESS = 8;
export const TORRENT_PEERS_KNOWN = 256;
export const TORRENT_DIALS = 8;
/** How long a greeting may take, how long a client may say nothing (BEP 3: they say something every two minutes), how often we do, milliseconds. */
export const TORRENT_GREETING_MS = 10_000;
export const TORRENT_SILENCE_MS = 180_000;
export const TORRENT_KEEP_ALIVE_MS = 90_000;
/** The block that all clients use, and the most that is sent for one request; other messages may be as long. */
export const TORRENT_BLOCK_BYTES = 16 * KiB;
/** Blocks that one client is asked for ahead: by how fast it is, and at most so many. */
export const TORRENT_AHEAD_LEAST = 8;
export const TORRENT_AHEAD_MOST = 128;
/** Blocks that one client may ask ahead; a client that asks for more is gone. Stock clients ask for 500 at most. */
export const TORRENT_MAX_REQUESTS = 2_048;
/** Messages of a client that are taken in a second, and bytes that it may send unasked. */
export const TORRENT_MESSAGES_PER_SECOND = 4_000;
export const TORRENT_UNASKED_BYTES = 1 * MiB;
/** Clients that are sent to at a time; the others take turns so often, milliseconds. */
export const TORRENT_UNCHOKED = 8;
export const TORRENT_TURN_MS = 10_000;
/** Wrong bytes from one address after which it is not spoken to any more, whatever its port. */
export const TORRENT_LIES_MOST = 3;

/** The fleet's hash table: keys change every hour, and overlap so long; how often a host announces itself, and is forgotten, milliseconds. */
export const DHT_WINDOW_MS = 3_600_000;
export const DHT_WINDOW_EDGE_MS = 900_000;
export const DHT_FIRST_MS = 5_000;
export const DHT_ANNOUNCE_MS = 1_200_000;
export const DHT_RECORD_MS = 3_000_000;
/** Whoever wants to fetch asks at most so often; a host that was found is asked who it is at most so often, and so many at a time. */
export const DHT_ASK_LEAST_MS = 3_000;
export const DHT_IDENTIFY_MS = 60_000;
export const DHT_IDENTIFY_AT_ONCE = 32;
/** Datagrams that are opened in a second, addresses that one node keeps for all sites, nodes that a host remembers. */
export const DHT_MESSAGES_A_SECOND = 500;
export const DHT_RECORDS_MAX = 10_000;
export const DHT_NODES_KEPT = 32;
export const INSTANCE_MAX_BYTES = 1 * KiB;

/** What devices say that they run: a header's characters, its products; devices in one message of a gateway. */
export const RUNS_HEADER_MAX = 1_024;
export const RUNS_MAX_PRODUCTS = 32;
export const RUNS_MAX_DEVICES = 512;
/** The same is noted again at most so often; a gateway passes on what is new so often, and everything twice a day, milliseconds. */
export const RUNS_NOTE_MS = 3_600_000;
export const RUNS_PASS_MS = 300_000;
export const RUNS_REPEAT_MS = 12 * 3_600_000;
/** A device that said nothing for so long is not counted; one that said nothing for longer is forgotten. */
export const RUNS_COUNTED_MS = 30 * 86_400_000;
export const RUNS_KEPT_MS = 180 * 86_400_000;
/** Devices and products remembered by an origin, and devices by a gateway. */
export const RUNS_MAX_ROWS = 200_000;
export const RUNS_MAX_AT_GATEWAY = 16_384;
