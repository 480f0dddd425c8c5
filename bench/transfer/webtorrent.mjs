// seed FILE | fetch FOLDER TORRENT(base64) PORT: WebTorrent, TCP over loopback, everything else off.
import { openSync, fsyncSync } from 'node:fs';
import { join } from 'node:path';
import WebTorrent from 'webtorrent';

const [role, path, torrent, port] = process.argv.slice(2);
const client = new WebTorrent({ dht: false, tracker: false, lsd: false, utp: false, webSeeds: false, natUpnp: false, natPmp: false });
client.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
if (role === 'seed') {
  client.seed(path, { announceList: [] }, (seeded) => {
    console.log(JSON.stringify({ port: client.torrentPort, torrent: Buffer.from(seeded.torrentFile).toString('base64') }));
  });
  process.stdin.resume().on('end', () => process.exit(0));
} else {
  const start = performance.now();
  const adding = client.add(Buffer.from(torrent, 'base64'), { path, announce: [] });
  adding.on('ready', () => adding.addPeer(`127.0.0.1:${port}`));
  adding.on('done', () => {
    fsyncSync(openSync(join(path, adding.files[0].path), 'r'));
    console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, rssMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));
    process.exit(0);
  });
}
