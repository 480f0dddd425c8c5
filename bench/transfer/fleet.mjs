// fleet DIR: makes a fleet in DIR with one member, and says where it is. Imported: reads that member.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FleetAuthority } from '../../dist/identity/authority.js';
import { deviceIdOf, newKeyPair, spkiOf } from '../../dist/identity/key.js';
import { certificatesIn } from '../../dist/identity/certificates.js';
import { Revocations } from '../../dist/identity/revocations.js';
import { nodeFiles } from '../../dist/store/files.js';

/** The member in `directory`, as identity/tls.ts wants it. */
export async function memberIn(directory) {
  const { fleet, key, client, server, ca } = JSON.parse(readFileSync(join(directory, 'member.json'), 'utf8'));
  return { fleet, revocations: new Revocations(fleet, certificatesIn(ca)), client: { key, cert: client, ca }, server: { key, cert: server, ca }, today: Date.now, onRenewed: () => () => undefined };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , directory = ''] = process.argv;
  const authority = await FleetAuthority.create(nodeFiles, directory, Date.now());
  const { privateKey, publicKey } = newKeyPair();
  const device = deviceIdOf(spkiOf(publicKey));
  const issued = await authority.issue({ fleet: authority.fleet, role: 'agent', device, site: 'bench', products: 'all' }, publicKey, Date.now());
  writeFileSync(join(directory, 'member.json'), JSON.stringify({ fleet: authority.fleet, key: privateKey.export({ type: 'pkcs8', format: 'pem' }), ca: authority.ca, ...issued }));
  console.log(JSON.stringify({ fleet: directory }));
}
