/** `service import --from`: machine clients of other providers, and what of them stays behind. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initDataDir } from '@latchkey/authority';
import {
  parseClientId,
  parseIssuer,
  parsePermissionName,
  parseRoleName,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { openTestAuthority } from '../../helpers/test-authority.ts';

const SECRET = 'hQ2zXv8LmN4pRt6WyB9cKd3Fg5Hj7sVaQeUoIy1T0xZbMnPqRwEuLkJhGfDsAzXc';

/** An authority with the roles `reader` and `write:orders`; imports one export and tells what came of it. */
async function importExport(from: string, exported: unknown, more: readonly string[] = []) {
  const port = await freePort();
  const dir = temporaryDir();
  const dataDir = join(dir, 'authority');
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer: parseIssuer(`http://127.0.0.1:${port}`), clock });
  const authority = await openTestAuthority({ dataDir, clock });
  await authority.authority.listen({ host: '127.0.0.1', port });
  for (const name of ['reader', 'write:orders']) {
    const permissions = [parsePermissionName('audit:read')];
    await authority.registry.createRole({ name: parseRoleName(name), permissions });
  }
  const file = join(dir, 'export.json');
  writeFileSync(file, typeof exported === 'string' ? exported : JSON.stringify(exported));
  const args = ['service', 'import', file, '--from', from, '--json', '--data-dir', dataDir];
  const outcome = await runCli([...args, ...more], { clock });
  const result =
    outcome.stdout === '' ? {} : (JSON.parse(outcome.stdout) as Record<string, unknown>);
  return { authority, outcome, result };
}

const lost = (result: Readonly<Record<string, unknown>>) =>
  (result.not_carried as readonly { client_id: string; what: string }[]).map(
    ({ client_id, what }) => `${client_id}: ${what}`,
  );

test('Auth0: machine clients with their secrets; scopes become roles by name or as told', async () => {
  const machine = { app_type: 'non_interactive', grant_types: ['client_credentials'] };
  const { authority, outcome, result } = await importExport(
    'auth0',
    {
      clients: [
        { ...machine, client_id: 'abc123', name: 'Billing', client_secret: SECRET },
        { ...machine, client_id: 'def456', name: 'a/b', client_metadata: { team: 'x' } },
        { ...machine, client_id: 'ghi789', client_secret: `$2b$10$${'x'.repeat(53)}` },
        { client_id: 'spa', name: 'Shop', app_type: 'spa', grant_types: ['authorization_code'] },
        { client_id: 'all', global: true, name: 'All Applications', ...machine },
      ],
      clientGrants: [
        {
          client_id: 'abc123',
          audience: 'https://x',
          scope: ['read:orders', 'write:orders', 'more'],
        },
        { client_id: 'a/b', audience: 'https://x', scope: ['write:orders'] },
      ],
    },
    ['--role-for', 'read:orders=reader'],
  );
  expect(outcome).toMatchObject({ exitCode: 0 });
  expect(result).toMatchObject({ created: 3, refused: 0 });
  expect(lost(result)).toEqual([
    'spa: client',
    'all: client',
    'abc123: scope more',
    'def456: secret',
    'def456: client_metadata',
    'def456: name',
    'ghi789: secret',
  ]);
  const id = parseClientId('abc123');
  expect(await authority.registry.client(id)).toMatchObject({
    ...{
      kind: 'service',
      roles: ['reader', 'write:orders'],
      labels: new Map([['name', 'Billing']]),
    },
  });
  expect(await authority.registry.verifySecret(id, SECRET)).toBe(true);
  expect((await authority.registry.client(parseClientId('ghi789')))?.secrets).toEqual([]);
  expect(`${outcome.stdout}${outcome.stderr}${authority.log.text()}`).not.toContain(SECRET);
});

test('Stytch: an inactive client comes suspended, and every one needs a new secret', async () => {
  const { authority, result } = await importExport('stytch', {
    m2m_clients: [
      {
        ...{ client_id: 'm2m-client-live-1', client_name: 'One', status: 'active' },
        ...{ client_secret_last_four: 'abcd', scopes: ['reader'], trusted_metadata: {} },
      },
      {
        client_id: 'm2m-client-live-2',
        status: 'inactive',
        scopes: [],
        trusted_metadata: { a: 1 },
      },
    ],
    results_metadata: { total: 2 },
  });
  expect(result).toMatchObject({ created: 2 });
  expect(lost(result)).toEqual([
    'm2m-client-live-1: secret',
    'm2m-client-live-2: secret',
    'm2m-client-live-2: trusted_metadata',
  ]);
  const statusOf = async (id: string) =>
    (await authority.registry.client(parseClientId(id)))?.status;
  expect(await statusOf('m2m-client-live-1')).toBe('active');
  expect(await statusOf('m2m-client-live-2')).toBe('suspended');
});

test('Logto: applications of machines, with roles and one of their secrets', async () => {
  const { authority, result } = await importExport('logto', [
    {
      ...{ id: 'w1e2r3t4', name: 'Worker', type: 'MachineToMachine', secret: 'internal_x' },
      ...{ secrets: [{ value: SECRET, expiresAt: null }, { value: `${SECRET}2` }] },
      roles: [{ name: 'reader' }, { name: 'nobody' }],
    },
    { id: 'web', name: 'Web', type: 'Traditional', secret: SECRET },
  ]);
  expect(result).toMatchObject({ created: 1 });
  expect(lost(result)).toEqual([
    'web: client',
    'w1e2r3t4: 1 more secrets',
    'w1e2r3t4: scope nobody',
  ]);
  expect(await authority.registry.verifySecret(parseClientId('w1e2r3t4'), SECRET)).toBe(true);
});

test.each([
  { name: 'an unknown provider', from: 'okta', exported: [] },
  { name: 'the export of another provider', from: 'stytch', exported: [{ client_id: 'a' }] },
  { name: 'a client without an id', from: 'auth0', exported: [{ name: 'a' }] },
  { name: 'no JSON', from: 'logto', exported: 'client_id,name' },
])('$name: exit 2', async ({ from, exported }) => {
  const { outcome } = await importExport(from, exported);
  expect(outcome.exitCode, outcome.stderr).toBe(2);
});

test('a role for nothing is refused: --role-for must look like scope=role', async () => {
  const { outcome } = await importExport('auth0', [], ['--role-for', 'reader']);
  expect(outcome).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('scope=role') });
});
