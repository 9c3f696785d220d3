/** What every answer of the authority has in common, and how its server ends. */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { createHttpClient, discover, JWT_BEARER_GRANT } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  addDevice,
  addThermostatRole,
  createTestDevice,
  openTestAuthority,
} from '../../helpers/test-authority.ts';

const CLIENT_AUTHENTICATION = ['private_key_jwt', 'client_secret_basic', 'client_secret_post'];

describe('metadata', () => {
  test.each([
    {
      issuer: 'https://id.example',
      url: '/.well-known/oauth-authorization-server',
      jwks: '/jwks',
    },
    {
      issuer: 'https://example.com/fleet/a',
      url: '/.well-known/oauth-authorization-server/fleet/a',
      jwks: '/fleet/a/jwks',
    },
  ])('of $issuer is at $url', async ({ issuer, url, jwks }) => {
    const { authority } = await openTestAuthority({ issuer });
    const response = await authority.app.inject(url);
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({
      issuer,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      introspection_endpoint: `${issuer}/introspect`,
      revocation_endpoint: `${issuer}/revoke`,
      enrollment_endpoint: `${issuer}/enroll`,
      key_rotation_endpoint: `${issuer}/key-rotation`,
      grant_types_supported: [JWT_BEARER_GRANT, 'client_credentials'],
      response_types_supported: [],
      token_endpoint_auth_methods_supported: [...CLIENT_AUTHENTICATION, 'none'],
      token_endpoint_auth_signing_alg_values_supported: ['EdDSA', 'Ed25519'],
      introspection_endpoint_auth_methods_supported: [...CLIENT_AUTHENTICATION, 'Bearer'],
      introspection_endpoint_auth_signing_alg_values_supported: ['EdDSA', 'Ed25519'],
      revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
      revocation_endpoint_auth_signing_alg_values_supported: ['EdDSA', 'Ed25519'],
    });
    const keys = await authority.app.inject(jwks);
    expect(keys.statusCode).toBe(200);
    expect(keys.body).not.toContain('"d"');
  });

  test('an issuer with a path serves everything below it', async () => {
    const authority = await openTestAuthority({ issuer: 'https://example.com/fleet' });
    await addThermostatRole(authority);
    const device = await addDevice(authority);
    expect((await authority.token(await device.assertion())).status).toBe(200);
    expect((await authority.authority.app.inject('/jwks')).statusCode).toBe(404);
  });

  test('is what our own discovery accepts', async () => {
    const first = await openTestAuthority();
    const url = await first.authority.listen({ host: '127.0.0.1', port: 0 });
    const response = await createHttpClient().request({ method: 'GET', url: `${url}/healthz` });
    expect(response).toMatchObject({ status: 200, body: '{"status":"ok"}' });
    // The issuer is elsewhere: a client must not trust what this URL says about it.
    await expect(discover(createHttpClient(), url as never)).rejects.toThrow('another issuer');
  });
});

describe('every answer', () => {
  test.each([
    { method: 'GET', url: '/healthz', status: 200 },
    { method: 'GET', url: '/jwks', status: 200 },
    { method: 'GET', url: '/nope', status: 404 },
    { method: 'GET', url: '/api/v1/devices', status: 401 },
    { method: 'GET', url: '/api/v1/nope', status: 404 },
    { method: 'DELETE', url: '/api/v1/devices/x', status: 401 },
    { method: 'POST', url: '/token', status: 400 },
    { method: 'POST', url: '/enroll', status: 400 },
    { method: 'POST', url: '/introspect', status: 400 },
    { method: 'POST', url: '/revoke', status: 400 },
    { method: 'GET', url: '/clients/x/jwks', status: 200 },
    { method: 'GET', url: '/readyz', status: 200 },
    { method: 'GET', url: '/%ff', status: 400 },
    { method: 'OPTIONS', url: '/token', status: 404 },
  ] as const)(
    '$method $url: $status, JSON that is not sniffed',
    async ({ method, url, status }) => {
      const { authority } = await openTestAuthority();
      const response = await authority.app.inject({ method, url });
      expect(response.statusCode).toBe(status);
      expect(response.headers['x-content-type-options']).toBe('nosniff');
      expect(response.headers['content-type']).toMatch(/^application\/(problem\+)?json/);
      expect(() => response.json()).not.toThrow();
      expect(response.body).not.toContain(url.slice(1, 4) === '%ff' ? '%ff' : '/nope');
    },
  );

  test('an unexpected error becomes server_error, and only the log says why', async () => {
    const authority = await openTestAuthority();
    const registry = authority.registry as { activeKey: unknown };
    registry.activeKey = () => Promise.reject(new Error('the disk is upside down'));
    const device = createTestDevice(authority);
    const answer = await authority.token(await device.assertion());
    expect(answer).toMatchObject({ status: 500 });
    expect(answer.body).toEqual({
      error: 'server_error',
      error_description: 'the server failed; its log says why',
    });
    expect(authority.log.text()).toContain('upside down');
  });

  test('what is not HTTP is answered with 400 and closed', async () => {
    const { authority } = await openTestAuthority();
    const url = new URL(await authority.listen({ host: '127.0.0.1', port: 0 }));
    const socket = connect({ host: url.hostname, port: Number(url.port) });
    socket.write('\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0\r\n\r\n');
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('nosniff');
  });
});

describe('close', () => {
  test('ends when nobody is there, and closes idle connections', async () => {
    const { authority } = await openTestAuthority();
    const url = new URL(await authority.listen({ host: '127.0.0.1', port: 0 }));
    const socket = connect({ host: url.hostname, port: Number(url.port) });
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await authority.close();
    await ended;
  });

  test('cuts off a request that does not end within 5 s', async () => {
    const { authority, clock } = await openTestAuthority();
    const url = new URL(await authority.listen({ host: '127.0.0.1', port: 0 }));
    const socket = connect({ host: url.hostname, port: Number(url.port) });
    socket.on('error', () => undefined);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    const started = new Promise((resolve) => authority.app.server.once('request', resolve));
    socket.write(
      'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=',
    );
    await started;
    let isClosed = false;
    const closing = authority.close().then(() => {
      isClosed = true;
    });
    await clock.untilSleeping(5000);
    await clock.advance(4999);
    expect(isClosed).toBe(false);
    await clock.advance(1);
    await closing;
    await ended;
  });
});
