/**
 * One of several processes that write to one registry file at once: `node registry-writer.mjs PATH
 * PROCESS WRITERS ROUNDS`. Prints what it was answered as JSON.
 */
import { openSqliteRegistry } from '@latchkey/authority';
import { generateKey, parseClientId, systemClock } from '@latchkey/shared';

const [path, process_, writers, rounds] = process.argv.slice(2);
const registry = openSqliteRegistry({ path, clock: systemClock });
const rememberUntil = systemClock.now() + 600;
const done = { clients: [], spent: [], events: [], redeemed: [], errors: [] };

async function write(writer) {
  for (let round = 0; round < Number(rounds); round += 1) {
    const id = parseClientId(`c-${process_}-${writer}-${round}`);
    await registry.createClient({
      id,
      kind: 'device',
      roles: [],
      labels: new Map([['writer', `${writer}`]]),
      key: generateKey().publicKey,
    });
    done.clients.push(id);
    // The same for all processes: one of them wins each.
    const jti = `shared-${writer}-${round}`;
    const clientId = parseClientId('everybody');
    if (await registry.spendAssertion({ clientId, jti, rememberUntil })) done.spent.push(jti);
    const event = `${process_}-${writer}-${round}`;
    await registry.recordEvent({
      type: 'token',
      actor: id,
      action: 'issue',
      target: undefined,
      outcome: 'ok',
      address: undefined,
      jti: event,
    });
    done.events.push(event);
    // Fewer uses than there are tries.
    const clientToBe = parseClientId(`e-${process_}-${writer}-${round}`);
    const key = generateKey().publicKey;
    try {
      await registry.redeem({ codeHash: 'shared-code', clientId: clientToBe, key });
      done.redeemed.push(clientToBe);
    } catch (error) {
      if (error.error !== 'invalid_grant') throw error;
    }
  }
}

const results = await Promise.allSettled(
  Array.from({ length: Number(writers) }, (_, writer) => write(writer)),
);
for (const { status, reason } of results) {
  if (status === 'rejected') done.errors.push(String(reason.detail ?? reason));
}
await registry.close();
process.stdout.write(JSON.stringify(done));
