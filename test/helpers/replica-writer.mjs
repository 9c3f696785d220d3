/**
 * A process that applies pages to a replica until it is killed: `node replica-writer.mjs PATH`. Each
 * sequence number gives all clients a scope with that number; every tenth is a snapshot of another
 * history, in pages. Prints each number once its page is applied.
 */
import {
  fitFeedPage,
  parseClientId,
  parseIssuer,
  parseResourceId,
  silentLogger,
} from '@latchkey/shared';
import { createKeyCopies } from '../../broker-plugin/dist/trust/key-copies.js';
import { createReplica } from '../../broker-plugin/dist/trust/replica.js';
import { openStateFile } from '../../broker-plugin/dist/trust/state-file.js';

const issuer = parseIssuer('https://id.example');
const resource = parseResourceId('mqtts://broker.example');
const IDS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((id) => parseClientId(id));
const db = openStateFile(process.argv[2]);
const keyCopies = createKeyCopies(db);
const replica = createReplica({ db, issuer, resource, keyCopies, logger: silentLogger });
const nonce = 'A'.repeat(22);

function apply(page) {
  const { position, lastIssuedAt } = replica;
  const whole = { issuer, resource, nonce, issuedAt: 1, issuerKeys: [], ...page };
  const step = fitFeedPage(whole, { issuer, resource, nonce, position, lastIssuedAt });
  replica.apply(whole, step, 1);
}

const clientsAt = (sequence, ids) =>
  ids.map((id) => ({
    ...{ id, kind: 'device', status: 'active', mayMint: false, tokensNotBefore: 0, keys: [] },
    scope: `pub:n/${sequence}`,
  }));

for (let sequence = (replica.position.sequence ?? 0) + 1; ; sequence += 1) {
  const { position } = replica;
  if (position.at !== 'changes' || sequence % 10 === 0) {
    const feedId = `${sequence}`.padStart(32, '0');
    const snapshot = { kind: 'snapshot', feedId, from: 0, to: sequence };
    for (const [from, to] of [
      [0, 3],
      [3, 5],
      [5, 7],
    ]) {
      const clients = clientsAt(sequence, IDS.slice(from, to));
      apply({ ...snapshot, afterId: IDS[from - 1] ?? '', hasMore: to < 7, clients });
    }
  } else {
    const { feedId, sequence: from } = position;
    const clients = clientsAt(sequence, IDS);
    const changes = { kind: 'changes', feedId, from, to: sequence, afterId: '', hasMore: false };
    apply({ ...changes, clients });
  }
  process.stdout.write(`${sequence}\n`);
  await new Promise((resolve) => setImmediate(resolve));
}
