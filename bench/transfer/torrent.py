"""make FILE TORRENT | seed FILE TORRENT | fetch FOLDER TORRENT PORT: libtorrent, TCP over loopback, everything else off."""
import json, os, resource, sys, time
import libtorrent as lt

def session():
    return lt.session({
        'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
        'allow_multiple_connections_per_ip': True, 'enable_outgoing_utp': False, 'enable_incoming_utp': False,
        'out_enc_policy': 2, 'in_enc_policy': 2, 'alert_mask': 0})

role, path, torrent = sys.argv[1:4]
if role == 'make':
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files)
    lt.set_piece_hashes(made, os.path.dirname(path))
    with open(torrent, 'wb') as out:
        out.write(lt.bencode(made.generate()))
    sys.exit()
info = lt.torrent_info(torrent)
params = lt.add_torrent_params()
params.ti = info
s = session()
if role == 'seed':
    params.save_path = os.path.dirname(path)
    params.flags |= lt.torrent_flags.seed_mode
    s.add_torrent(params)
    print(json.dumps({'port': s.listen_port()}), flush=True)
    sys.stdin.read()
    os._exit(0)
start = time.monotonic()
params.save_path = path
handle = s.add_torrent(params)
handle.connect_peer(('127.0.0.1', int(sys.argv[4])))
while not handle.status().is_seeding:
    time.sleep(0.005)
fd = os.open(os.path.join(path, info.name()), os.O_RDONLY)
os.fsync(fd)
print(json.dumps({'seconds': time.monotonic() - start, 'rssMiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}), flush=True)
os._exit(0)
