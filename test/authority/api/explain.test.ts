/** Explain agrees with what a broker decides about the token that the client gets (I12), and says why. */
import {
  compileTopicRights,
  decide,
  parseClientId,
  parseScope,
  type TopicRequest,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addOperator, chiefOperator } from '../../helpers/operators.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

type Question = Exclude<TopicRequest, { action: 'receive' }>;

const queryOf = (client: string, question: object) =>
  `/explain?${new URLSearchParams({ client_id: client, ...(question as Record<string, string>) })}`;

async function setup(): Promise<{
  authority: TestAuthority;
  ask: (client: string, question: object) => Promise<Record<string, unknown>>;
}> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  const chief = chiefOperator(authority);
  await chief.call('POST', '/permissions', {
    ...{ name: 'site', resource: BROKER },
    scopes: ['pub;qos=1;retain=0:sites/{labels.site}/+', 'sub:sites/{labels.site}/#'],
  });
  await chief.call('POST', '/roles', { name: 'sited', permissions: ['site'] });
  return {
    authority,
    ask: async (client, question) => {
      const { status, body } = await chief.call('GET', queryOf(client, question));
      if (status !== 200) throw new Error(JSON.stringify(body));
      return body as Record<string, unknown>;
    },
  };
}

describe('explain', () => {
  test('names role, permission and scope that allow', async () => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    const topic = 'devices/t-1/telemetry/temp';
    expect(await ask('t-1', { action: 'publish', topic })).toEqual({
      ...{ client_id: 't-1', action: 'publish', topic, resource: BROKER, allowed: true },
      ...{ reason: 'allowed', detail: expect.any(String), grant: null, missing_labels: [] },
      ...{ scope: 'pub:devices/t-1/telemetry/#', permission: 'telemetry', roles: ['thermostat'] },
    });
  });

  test.each([
    {
      name: 'another device',
      question: { action: 'publish', topic: 'devices/t-2/telemetry/temp' },
      expected: {
        reason: 'no-scope',
        scope: 'pub:devices/t-1/telemetry/#',
        grant: { scope: 'pub;qos=0;retain=0:devices/t-2/telemetry/temp', roles: [] },
      },
    },
    {
      name: 'a topic of its own',
      question: { action: 'publish', topic: 'devices/t-1/log', qos: '2', retain: 'true' },
      expected: { grant: { scope: 'pub:devices/{client_id}/log', roles: [] } },
    },
    {
      name: 'QoS 2',
      question: { action: 'subscribe', topic: 'devices/t-1/commands/x', qos: '2' },
      expected: {
        reason: 'qos-too-high',
        permission: 'commands',
        grant: { scope: 'sub:devices/{client_id}/commands/x', roles: [] },
      },
    },
    {
      name: 'a role that would do',
      question: { action: 'subscribe', topic: 'sites/berlin/x' },
      expected: { grant: { scope: 'sub;qos=0:sites/berlin/x', roles: ['sited'] } },
    },
    {
      name: 'a label that keeps that role from doing',
      question: { action: 'subscribe', topic: 'sites/rio/x' },
      expected: { grant: { scope: 'sub;qos=0:sites/rio/x', roles: [] } },
    },
    {
      name: 'a malformed topic, where no grant helps',
      question: { action: 'publish', topic: 'a/#' },
      expected: { reason: 'topic-invalid', grant: null },
    },
    {
      name: 'braces, which a template reads otherwise',
      question: { action: 'publish', topic: 'a/{client_id}' },
      expected: { grant: { scope: 'pub;qos=0;retain=0:a/%7Bclient_id%7D', roles: [] } },
    },
    {
      name: 'another broker',
      question: { action: 'publish', topic: 'a', resource: 'mqtts://other.example' },
      expected: { reason: 'no-rights', resource: 'mqtts://other.example', scope: null },
    },
    {
      name: 'an http resource',
      question: { action: 'publish', topic: 'a', resource: 'https://id.example/api' },
      expected: { reason: 'no-rights' },
    },
  ])('says what is missing: $name', async ({ question, expected }) => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1', { labels: { site: 'berlin' } });
    expect(await ask('t-1', question)).toMatchObject({ allowed: false, ...expected });
  });

  test.each([
    { verb: 'suspend', reason: 'client-suspended' },
    { verb: 'revoke', reason: 'client-revoked' },
  ])('of a client after $verb says so', async ({ verb, reason }) => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    await chiefOperator(authority).call('POST', `/clients/t-1/${verb}`, {});
    const topic = 'devices/t-1/telemetry/temp';
    expect(await ask('t-1', { action: 'publish', topic })).toMatchObject({
      allowed: false,
      reason,
    });
  });

  test('asks which broker when there are several, and refuses what it cannot read', async () => {
    const { authority } = await setup();
    const chief = chiefOperator(authority);
    await chief.call('POST', '/resources', { identifier: 'mqtt://two.example', kind: 'mqtt' });
    await chief.call('POST', '/permissions', {
      ...{ name: 'two', resource: 'mqtt://two.example', scopes: ['pub:a'] },
    });
    await chief.call('POST', '/roles', { name: 'both', permissions: ['telemetry', 'two'] });
    await addDevice(authority, 't-1', { roles: ['both'] });
    const good = { action: 'publish', topic: 'a' };
    for (const [client, question, status] of [
      ['t-1', good, 400],
      ['t-1', { ...good, resource: BROKER }, 200],
      ['nope', good, 404],
      ['t-1', { ...good, qos: '3' }, 400],
      ['t-1', { ...good, action: 'receive' }, 400],
      ['t-1', { ...good, retain: '1' }, 400],
      ['t-1', { ...good, topic: 'a'.repeat(8193) }, 400],
    ] as const) {
      expect((await chief.call('GET', queryOf(client, question))).status).toBe(status);
    }
  });

  test('names roles of others only to who may read roles', async () => {
    const { authority } = await setup();
    await addDevice(authority, 't-1', { labels: { site: 'berlin' } });
    const question = queryOf('t-1', { action: 'subscribe', topic: 'sites/berlin/x' });
    const rolesSeen = async (name: string, scopes: readonly string[], site?: string) => {
      const operator = await addOperator(authority, name, { scopes, ...(site && { site }) });
      return (await operator.call('GET', question)).body;
    };
    const seen = { grant: { roles: ['sited'] } };
    const hidden = { grant: { roles: [] } };
    expect(await rolesSeen('a', ['clients:read', 'roles:read'])).toMatchObject(seen);
    expect(await rolesSeen('b', ['clients:read'])).toMatchObject(hidden);
    expect(await rolesSeen('c', ['all'], 'berlin')).toMatchObject(hidden);
  });

  test('always agrees with the decision on the token that the client gets', async () => {
    const { authority, ask } = await setup();
    const device = await addDevice(authority, 't-1', {
      ...{ labels: { site: 'berlin' }, roles: ['thermostat', 'sited'] },
    });
    const { body } = await authority.token(await device.assertion(), { resource: BROKER });
    const { topicScopes } = parseScope((body as { scope: string }).scope);
    const rights = compileTopicRights(topicScopes);
    const level = fc.constantFrom(
      'devices',
      't-1',
      't-2',
      'telemetry',
      'commands',
      'sites',
      'berlin',
      '+',
      '#',
      '',
      '$x',
      '{',
      'ü%',
    );
    const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('publish' as const, 'subscribe' as const),
        topic,
        fc.constantFrom(0, 1, 2),
        fc.boolean(),
        async (action, text, qos, retain) => {
          const question: Question =
            action === 'publish'
              ? { action, topic: text, qos, retain }
              : { action, topic: text, qos };
          const decision = decide(rights, question);
          const answer = await ask('t-1', {
            ...{ action, topic: text, qos: String(qos), retain: String(retain) },
          });
          expect(answer.allowed).toBe(decision.allowed);
          if (!decision.allowed) expect(answer.reason).toBe(decision.reason);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('what it says would do, does', async () => {
    const { authority, ask } = await setup();
    const chief = chiefOperator(authority);
    await addDevice(authority, 't-1');
    const topic = 'a/{t}/t-1/ü x';
    const question = { action: 'publish', topic, qos: '1', retain: 'true' };
    const { grant } = (await ask('t-1', question)) as { grant: { scope: string } };
    await chief.call('POST', '/permissions', {
      ...{ name: 'more', resource: BROKER, scopes: [grant.scope] },
    });
    await chief.call('POST', '/roles', { name: 'more', permissions: ['more'] });
    const { registry } = authority;
    const roles = ['thermostat', 'more'] as never;
    await registry.patchClient(parseClientId('t-1'), { roles });
    expect(await ask('t-1', question)).toMatchObject({ allowed: true, permission: 'more' });
    expect(await ask('t-1', { ...question, qos: '2' })).toMatchObject({ allowed: false });
  });
});

describe('a supposition', () => {
  const topic = 'devices/t-1/telemetry/temp';
  const publish = { action: 'publish', topic };

  test('answers as if the client had a role, and changes nothing', async () => {
    const { authority, ask } = await setup();
    await authority.api('POST', '/devices', { client_id: 't-1', labels: { site: 'berlin' } });
    const before = authority.dump();
    const withRole = { ...publish, topic: 'sites/berlin/door', with_role: 'sited' };
    expect(await ask('t-1', withRole)).toMatchObject({
      ...{ allowed: true, permission: 'site', roles: ['sited'] },
    });
    expect(authority.dump()).toBe(before);
    expect(await ask('t-1', { ...withRole, topic: 'sites/paris/door' })).toMatchObject({
      allowed: false,
    });
    expect(await ask('t-1', publish)).toMatchObject({ allowed: false, reason: 'no-rights' });
  });

  test('answers as if the client did not have a role', async () => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    expect(await ask('t-1', publish)).toMatchObject({ allowed: true });
    expect(await ask('t-1', { ...publish, without_role: 'thermostat' })).toMatchObject({
      ...{ allowed: false, reason: 'no-rights', roles: [] },
    });
  });

  test('says which label a supposed role would need', async () => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    const question = { ...publish, topic: 'sites/berlin/door', with_role: 'sited' };
    expect(await ask('t-1', question)).toMatchObject({
      allowed: false,
      missing_labels: [{ permission: 'site', label: 'site' }],
    });
  });

  test.each([
    { name: 'a role that there is not', more: { with_role: 'none' }, says: /with_role/ },
    { name: 'no role', more: { with_role: 'a b' }, says: /with_role/ },
    {
      name: 'a role taken away that it does not have',
      more: { without_role: 'sited' },
      says: /without_role/,
    },
  ])('is refused with $name', async ({ more, says }) => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    await expect(ask('t-1', { ...publish, ...more })).rejects.toThrow(says);
  });

  test('helps nobody who is revoked', async () => {
    const { authority, ask } = await setup();
    await addDevice(authority, 't-1');
    await authority.api('POST', '/clients/t-1/revoke', {});
    expect(await ask('t-1', { ...publish, with_role: 'thermostat' })).toMatchObject({
      ...{ allowed: false, reason: 'client-revoked' },
    });
  });
});
