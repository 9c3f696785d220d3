/** The fleet in numbers: over the management API and on the command line, for whoever may see it. */
import { generateKey, parseClientId } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { addOperator, chiefOperator } from '../../helpers/operators.ts';
import {
  addDevice,
  addThermostatRole,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

const DAY = 86_400;
const PATH = '/fleet/summary';

/** Devices of two sites and of none, one of each status, one without a key; and a service, which is none. */
async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  const { api, registry } = authority;
  await addThermostatRole(authority);
  await addDevice(authority, 'b-1', { labels: { site: 'berlin' } });
  await addDevice(authority, 'b-2', { labels: { site: 'berlin', floor: '2' } });
  await addDevice(authority, 'r-1', { labels: { site: 'rio' }, roles: [] });
  await addDevice(authority, 'x-1');
  await api('POST', '/devices', { client_id: 'w-1', labels: { site: 'rio' } });
  await api('POST', '/services', { client_id: 's-1', labels: { site: 'berlin' } });
  await registry.setClientStatus(parseClientId('b-2'), 'suspended');
  await registry.setClientStatus(parseClientId('x-1'), 'revoked');
  return authority;
}

const summaryOf = async (authority: TestAuthority, query = '') =>
  (await chiefOperator(authority).call('GET', `${PATH}${query}`)).body;

const group = (name: string, devices: number) => ({ name, devices });

describe('the summary', () => {
  test('counts devices by status, role and label', async () => {
    expect(await summaryOf(await setup(), '?by=site')).toEqual({
      devices: 5,
      by_status: { active: 3, suspended: 1, revoked: 1 },
      by_role: { groups: [group('thermostat', 3)], more_groups: 0, without: 2 },
      by_label: {
        ...{ key: 'site', groups: [group('berlin', 2), group('rio', 2)], more_groups: 0 },
        without: 1,
      },
      without_key: 1,
      with_old_key: { age_seconds: 365 * DAY, devices: 0 },
    });
  });

  test('of nothing is zeros', async () => {
    const nobody = { groups: [], more_groups: 0, without: 0 };
    expect(await summaryOf(await openTestAuthority(), '?by=site')).toEqual({
      ...{ devices: 0, by_status: { active: 0, suspended: 0, revoked: 0 }, by_role: nobody },
      ...{ by_label: { key: 'site', ...nobody }, without_key: 0 },
      with_old_key: { age_seconds: 365 * DAY, devices: 0 },
    });
  });

  test('has no labels when none is asked for, and nobody has one that is not there', async () => {
    const authority = await setup();
    expect(await summaryOf(authority)).toMatchObject({ by_label: null });
    expect(await summaryOf(authority, '?by=no-such')).toMatchObject({
      by_label: { key: 'no-such', groups: [], more_groups: 0, without: 5 },
    });
  });

  test('a key is old at the very second, and not one before; a young one beside it does not help', async () => {
    const authority = await setup();
    const oldOnes = async () => {
      const summary = await summaryOf(authority, `?key_age_seconds=${10 * DAY}`);
      return (summary as { with_old_key: { devices: number } }).with_old_key.devices;
    };
    const { clock, registry } = authority;
    await clock.advance((10 * DAY - 1) * 1000);
    expect(await oldOnes()).toBe(0);
    await registry.addClientKey(parseClientId('b-1'), { key: generateKey().publicKey });
    await clock.advance(1000);
    // x-1 is revoked, and w-1 has none.
    expect(await oldOnes()).toBe(3);
  });

  test('lists the hundred largest groups, and says how many there are beside them', async () => {
    const authority = await openTestAuthority();
    for (const kind of ['device', 'service']) {
      execSql(
        authority,
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 152)
         INSERT INTO client (id, kind, status, created_at) SELECT '${kind}-' || i, '${kind}', 'active', 0 FROM n`,
      );
    }
    execSql(
      authority,
      `INSERT INTO client_label (client, key, value)
       SELECT id, 'serial', iif(id IN ('device-151', 'device-152'), 'z', id) FROM client WHERE id LIKE '%-%'`,
    );
    const { by_label: byLabel } = (await summaryOf(authority, '?by=serial')) as {
      by_label: { groups: object[]; more_groups: number };
    };
    expect(byLabel).toMatchObject({ more_groups: 51, without: 0 });
    expect(byLabel.groups).toHaveLength(100);
    expect(byLabel.groups.slice(0, 2)).toEqual([group('z', 2), group('device-1', 1)]);
    await authority.api('POST', '/devices', { client_id: 'unlabelled' });
    expect(await summaryOf(authority, '?by=serial')).toMatchObject({
      by_label: { ...byLabel, without: 1 },
    });
  });
});

describe('an operator', () => {
  test('that is limited to a label counts only what it sees', async () => {
    const authority = await setup();
    const limited = await addOperator(authority, 'berliner', {
      ...{ scopes: ['clients:read'], site: 'berlin' },
    });
    for (const by of ['site', 'floor']) {
      const { status, body } = await limited.call('GET', `${PATH}?by=${by}`);
      expect(status).toBe(200);
      expect(body).toMatchObject({
        ...{ devices: 2, by_status: { active: 1, suspended: 1, revoked: 0 }, without_key: 0 },
        by_role: { groups: [group('thermostat', 2)], without: 0 },
      });
      expect(JSON.stringify(body)).not.toContain('rio');
    }
    const nowhere = await addOperator(authority, 'nowhere', {
      ...{ scopes: ['clients:read'], site: 'Berlin' },
    });
    expect((await nowhere.call('GET', `${PATH}?by=site`)).body).toMatchObject({
      ...{ devices: 0, by_label: { groups: [], without: 0 } },
    });
  });

  test('without clients:read is refused', async () => {
    const authority = await setup();
    const other = await addOperator(authority, 'auditor', { scopes: ['audit:read', 'roles:read'] });
    const { status, body } = await other.call('GET', PATH);
    expect([status, body]).toMatchObject([
      403,
      { detail: expect.stringContaining('clients:read') },
    ]);
  });
});

test.each([
  { query: '?by=', field: 'by' },
  { query: '?by=Site', field: 'by' },
  { query: `?by=${'a'.repeat(33)}`, field: 'by' },
  { query: '?by=site&by=floor', field: 'by' },
  { query: "?by=a'%20OR%201", field: 'by' },
  { query: '?key_age_seconds=0', field: 'key_age_seconds' },
  { query: '?key_age_seconds=-1', field: 'key_age_seconds' },
  { query: '?key_age_seconds=1e3', field: 'key_age_seconds' },
  { query: '?key_age_seconds=315360001', field: 'key_age_seconds' },
  { query: '?key_age_seconds=1&key_age_seconds=2', field: 'key_age_seconds' },
  { query: '?label=site=berlin', field: 'label' },
])('$query is refused, and the field is named', async ({ query, field }) => {
  const authority = await openTestAuthority();
  const { status, body } = await chiefOperator(authority).call('GET', `${PATH}${query}`);
  expect([status, body]).toMatchObject([400, { errors: [{ field }] }]);
});

test.each([`${'a'.repeat(32)}&key_age_seconds=315360000`, 'a&key_age_seconds=1'])(
  'by=%s is within the bounds',
  async (query) => {
    const authority = await openTestAuthority();
    const { status } = await chiefOperator(authority).call('GET', `${PATH}?by=${query}`);
    expect(status).toBe(200);
  },
);
