/** I1: whatever goes wrong, no token, assertion, proof, code or key is logged, by us or by pino. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import { createLogger, dataDirPaths } from '@latchkey/authority';
import { exportPrivatePem, generateKey } from '@latchkey/shared';
import { expect, test } from 'vitest';
import {
  addCode,
  addDevice,
  addThermostatRole,
  createTestDevice,
  enrollmentRequest,
  openTestAuthority,
} from '../helpers/test-authority.ts';

test('no failure and no success logs a secret', async () => {
  const authority = await openTestAuthority();
  const { token, enroll, api, clock, log } = authority;
  const secrets = new Set<string>();
  const secret = (value: string) => {
    secrets.add(value);
    return value;
  };
  await addThermostatRole(authority);
  const device = await addDevice(authority);
  const stranger = createTestDevice(authority, 't-42', generateKey());

  // Success, replay, stranger, unknown client, wrong clock, wrong use, no JWT, bad scope and resource.
  const good = secret(await device.assertion());
  const granted = await token(good);
  secret((granted.body as { access_token: string }).access_token);
  await token(good);
  await token(secret(await stranger.assertion()));
  await token(secret(await createTestDevice(authority, 'nobody').assertion()));
  await token(secret(await device.assertion({ now: clock.now() - 900 })));
  await token(secret(await device.assertion({ use: 'client-authentication' })));
  await token(secret('lke_this-is-not-a-jwt-but-secret'));
  await token(secret(await device.assertion()), { scope: 'pub:#' });
  await token(secret(await device.assertion()), { resource: 'mqtts://other.example' });
  await token(secret(await device.assertion()), { client_secret: secret('hunter2-hunter2') });
  await authority.form([
    ['assertion', secret('twice-1-assertion')],
    ['assertion', secret('twice-2-assertion')],
  ]);

  // Enrollment: success, again, spent, unknown, wrong proof, weak key, a code in the wrong place.
  const code = secret(await addCode(authority, { client_id: 't-1' }));
  const first = createTestDevice(authority, 't-1');
  const request = await enrollmentRequest(authority, first, code);
  secret(request.proof as string);
  await enroll(request);
  await enroll(request);
  const second = await enrollmentRequest(authority, createTestDevice(authority, 't-1'), code);
  secret(second.proof as string);
  await enroll(second);
  const unknown = await enrollmentRequest(authority, createTestDevice(authority, 't-3'));
  secret(unknown.enrollment_code as string);
  secret(unknown.proof as string);
  await enroll(unknown);
  await enroll({ ...unknown, proof: request.proof });
  await enroll({
    ...unknown,
    public_key: { kty: 'OKP', crv: 'Ed25519', x: `AQ${'A'.repeat(41)}` },
  });
  const privateJwk = generateKey().keyObject.export({ format: 'der', type: 'pkcs8' });
  const d = secret(privateJwk.subarray(-32).toString('base64url'));
  await enroll({ ...unknown, public_key: { ...first.key.publicKey.jwk, d } });
  await enroll({ ...unknown, client_id: secret('lke_code/in/the/wrong/place') });

  // Management: bad tokens, bad bodies, secrets in the wrong field.
  secret(await authority.operatorToken());
  await authority.authority.app.inject({
    url: '/api/v1/devices',
    headers: { authorization: `Bearer ${secret('not.a.token-but-secret')}` },
  });
  await authority.authority.app.inject({
    url: '/api/v1/devices',
    headers: { authorization: `Bearer ${good}` },
  });
  await api('POST', '/devices', { client_id: secret(exportPrivatePem(first.key)) });
  await api('POST', '/devices', { client_id: 'd', public_key: { ...first.key.publicKey.jwk, d } });
  await api('POST', '/devices', { client_id: 'd', labels: { site: secret('s3cret/label') } });

  // What nobody expected, with the request in the error's cause.
  (authority.registry as { activeKey: unknown }).activeKey = () =>
    Promise.reject(new Error('storage is gone', { cause: new Error('really gone') }));
  await token(secret(await device.assertion()));

  const paths = dataDirPaths(authority.dataDir);
  for (const name of readdirSync(paths.signingKeys)) {
    secret(readFileSync(join(paths.signingKeys, name), 'utf8').split('\n')[1] as string);
  }
  secret(
    (JSON.parse(readFileSync(paths.operatorKey, 'utf8')).private_key as string).split(
      '\n',
    )[1] as string,
  );

  let printed = '';
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      printed += String(chunk);
      done();
    },
  });
  const pino = createLogger('debug', sink);
  for (const { level, fields, message } of log.lines) pino[level](fields, message);
  const all =
    printed + inspect(log.lines, { depth: 20, maxStringLength: null, maxArrayLength: null });
  expect(log.lines.length).toBeGreaterThan(30);
  expect(all).toContain('storage is gone');
  for (const value of secrets) {
    expect(value.length).toBeGreaterThan(8);
    expect(all).not.toContain(value);
    // A signature or payload alone would be bad enough.
    for (const part of value.split('.')) if (part.length > 40) expect(all).not.toContain(part);
  }
});

test('pino strikes out what would be logged by mistake', () => {
  let printed = '';
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      printed += String(chunk);
      done();
    },
  });
  createLogger('info', sink).info(
    { event: 'x', assertion: 'secret-1', body: { enrollment_code: 'secret-2' }, token: 'secret-3' },
    'mistake',
  );
  expect(printed).not.toContain('secret-');
  expect(JSON.parse(printed)).toMatchObject({ level: 'info', event: 'x', msg: 'mistake' });
});
