/** Clients that nobody here wrote: mosquitto_pub and mosquitto_sub with tokens from the agent. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AccessTokenClaims,
  createKeySigner,
  generateKey,
  importPrivatePem,
  parseClientId,
  parseIssuer,
  parseResourceId,
  type Signer,
  signAccessToken,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { type LiveStack, startLiveStack } from '../helpers/live-stack.ts';
import { type Outcome, runCommand } from '../helpers/processes.ts';

const OWN_TOPIC = 'devices/t-42/telemetry/temperature';
const OWN_COMMANDS = 'devices/t-42/commands/+';
/** Return codes of MQTT 3.1.1 as mosquitto's clients exit with them. */
const BAD_CREDENTIALS = 4;
const NOT_AUTHORIZED = 5;

const login = (stack: LiveStack, id: string, token: string) => [
  ...['-h', '127.0.0.1', '-p', String(stack.brokerPort), '-i', id],
  ...(token === '' ? [] : ['-u', id, '-P', token]),
];

const publish = (stack: LiveStack, id: string, token: string, topic: string): Promise<Outcome> =>
  runCommand('mosquitto_pub', [...login(stack, id, token), '-t', topic, '-m', '21.5', '-q', '1']);

/** A changed character in the middle of a part: same length, other bytes. */
function tampered(token: string, part: 0 | 1 | 2): string {
  const parts = token.split('.');
  const text = parts[part] as string;
  const middle = Math.floor(text.length / 2);
  parts[part] = text.slice(0, middle) + (text[middle] === 'A' ? 'B' : 'A') + text.slice(middle + 1);
  return parts.join('.');
}

function claimsFor(stack: LiveStack, issuedAt: number): AccessTokenClaims {
  return {
    issuer: parseIssuer(stack.issuer),
    clientId: parseClientId('t-42'),
    audience: parseResourceId(stack.resource),
    issuedAt,
    expiresAt: issuedAt + 900,
    jti: 'not-from-the-authority',
    scope: `pub:devices/t-42/telemetry/# sub:${OWN_COMMANDS}`,
  };
}

/** The authority's own key: only so can a test have a token that is right but for its times. */
function authoritySigner(stack: LiveStack): Signer {
  const dir = join(stack.dir, 'authority', 'signing-keys');
  const [file] = readdirSync(dir);
  return createKeySigner(importPrivatePem(readFileSync(join(dir, file as string), 'utf8')));
}

test('mosquitto clients are let in for what the token grants and refused for everything else', async () => {
  const stack = await startLiveStack();
  const stateDir = await stack.enroll('t-42');
  const token = await stack.token(stateDir);

  const allowed = await publish(stack, 't-42', token, OWN_TOPIC);
  expect(allowed).toMatchObject({ exitCode: 0, stderr: '' });
  await stack.broker.event('publish.allowed', ({ topic }) => topic === OWN_TOPIC);

  // A broker that speaks 3.1.1 can refuse a publication only by closing the connection.
  const foreign = await publish(stack, 't-42', token, 'devices/t-43/telemetry/temperature');
  expect(foreign.exitCode).not.toBe(0);
  const refused = await stack.broker.event('publish.refused');
  expect(refused).toMatchObject({
    clientId: 't-42',
    topic: 'devices/t-43/telemetry/temperature',
    reason: 'no-scope',
    nearest: 'pub:devices/t-42/telemetry/#',
  });

  const otherId = await publish(stack, 't-43', token, OWN_TOPIC);
  expect(otherId.exitCode).toBe(NOT_AUTHORIZED);
});

test('mosquitto_sub receives what its filter covers and gets 128 for what it does not', async () => {
  const stack = await startLiveStack();
  const receiver = await stack.token(await stack.enroll('t-42'));
  await stack.latchkey(
    ...['permission', 'create', 'command-all', '--resource', stack.resource],
    ...['--scope', 'pub:devices/+/commands/+'],
  );
  await stack.latchkey('role', 'create', 'commander', '--permission', 'command-all');
  const sender = await stack.token(await stack.enroll('hub', '--role', 'commander'));

  const args = [...login(stack, 't-42', receiver), '-t', OWN_COMMANDS, '-q', '1', '-C', '1', '-v'];
  const receiving = runCommand('mosquitto_sub', args);
  await stack.broker.event('subscribe.allowed', ({ topic }) => topic === OWN_COMMANDS);
  expect(await publish(stack, 'hub', sender, 'devices/t-42/commands/power')).toMatchObject({
    exitCode: 0,
  });
  expect(await receiving).toMatchObject({
    exitCode: 0,
    stdout: 'devices/t-42/commands/power 21.5\n',
  });

  const wide = await runCommand('mosquitto_sub', [
    ...login(stack, 't-42', receiver),
    '-t',
    '#',
    '-C',
    '1',
  ]);
  expect(wide.stderr).toContain('All subscription requests were denied.');
  await stack.broker.event('subscribe.refused', ({ topic }) => topic === '#');
});

test('an expired, tampered, foreign or missing token is refused at CONNECT', async () => {
  const stack = await startLiveStack();
  const stateDir = await stack.enroll('t-42');
  const token = await stack.token(stateDir);
  await stack.latchkey(
    'resource',
    'create',
    'mqtt://other.example',
    '--kind',
    'mqtt',
    '--token-ttl',
    '900',
  );
  await stack.latchkey(
    ...['permission', 'create', 'elsewhere', '--resource', 'mqtt://other.example'],
    ...['--scope', 'pub:devices/{client_id}/telemetry/#'],
  );
  await stack.latchkey('role', 'create', 'traveller', '--permission', 'elsewhere');
  const traveller = await stack.enroll('t-44', '--role', 'traveller');
  const now = systemClock.now();
  const stranger = createKeySigner(generateKey());
  const expired = { ...claimsFor(stack, now - 900), expiresAt: now - 1 };

  const cases = [
    { name: 'missing', id: 't-42', given: '', exitCode: BAD_CREDENTIALS },
    { name: 'not a token', id: 't-42', given: 'letmein-2026', exitCode: BAD_CREDENTIALS },
    { name: 'changed header', id: 't-42', given: tampered(token, 0), exitCode: BAD_CREDENTIALS },
    { name: 'changed claims', id: 't-42', given: tampered(token, 1), exitCode: BAD_CREDENTIALS },
    { name: 'changed signature', id: 't-42', given: tampered(token, 2), exitCode: BAD_CREDENTIALS },
    {
      name: 'signed by a stranger',
      id: 't-42',
      given: await signAccessToken(stranger, claimsFor(stack, now)),
      exitCode: BAD_CREDENTIALS,
    },
    {
      name: 'expired, signed by the authority itself',
      id: 't-42',
      given: await signAccessToken(authoritySigner(stack), expired),
      exitCode: BAD_CREDENTIALS,
    },
    {
      name: 'for another broker',
      id: 't-44',
      given: await stack.token(traveller, '--resource', 'mqtt://other.example'),
      exitCode: NOT_AUTHORIZED,
    },
  ];
  for (const { name, id, given, exitCode } of cases) {
    const { stderr, ...outcome } = await publish(stack, id, given, `devices/${id}/telemetry/x`);
    expect({ name, ...outcome }).toMatchObject({ name, exitCode });
    expect(stderr).not.toContain(given === '' ? 'eyJ' : given);
  }
});

test('a session ends when its token does, and the expired token opens no other', async () => {
  const stack = await startLiveStack();
  await stack.enroll('t-42');
  const now = systemClock.now();
  const token = await signAccessToken(authoritySigner(stack), {
    ...claimsFor(stack, now - 60),
    expiresAt: now + 3,
  });

  const args = [...login(stack, 't-42', token), '-t', OWN_COMMANDS, '-q', '1', '-C', '1'];
  const subscriber = runCommand('mosquitto_sub', args);
  await stack.broker.event('connect.accepted');
  await stack.broker.event('session.expired', ({ clientId }) => clientId === 't-42');
  // mosquitto_sub reconnects by itself with the same token, is refused, and gives up.
  await stack.broker.event('connect.refused', ({ returnCode }) => returnCode === BAD_CREDENTIALS);
  expect((await subscriber).exitCode).not.toBe(0);
  expect(systemClock.now()).toBeGreaterThanOrEqual(now + 3);
});
