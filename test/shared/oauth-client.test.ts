import {
  createKeySigner,
  discover,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  JWT_BEARER_GRANT,
  metadataUrl,
  parseIssuer,
  refusalOf,
  requestToken,
  type ServerMetadata,
  TokenRequestError,
  UnreachableError,
  verifyAssertion,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { CLIENT_ID, ISSUER, KEY, NOW } from '../helpers/jwts.ts';

/** Answers every request alike and keeps what was asked. */
function answering(response: Partial<HttpResponse>): HttpClient & { asked: HttpRequest[] } {
  const asked: HttpRequest[] = [];
  return {
    asked,
    request: async (request) => {
      asked.push(request);
      const { body = '' } = response;
      return { status: 200, headers: {}, body, bytes: Buffer.from(body), ...response };
    },
  };
}
const json = (value: unknown, status = 200) => ({ status, body: JSON.stringify(value) });
const METADATA: ServerMetadata = {
  issuer: ISSUER,
  token_endpoint: `${ISSUER}/token`,
  jwks_uri: `${ISSUER}/jwks`,
};

describe('metadataUrl puts the well-known part between host and path (RFC 8414 3.1)', () => {
  test.each([
    {
      issuer: 'https://id.example',
      is: 'https://id.example/.well-known/oauth-authorization-server',
    },
    {
      issuer: 'https://id.example/fleet',
      is: 'https://id.example/.well-known/oauth-authorization-server/fleet',
    },
    {
      issuer: 'http://localhost:9400',
      is: 'http://localhost:9400/.well-known/oauth-authorization-server',
    },
  ])('$issuer', ({ issuer, is }) => {
    expect(metadataUrl(parseIssuer(issuer))).toBe(is);
  });
});

describe('discover', () => {
  test('gives the metadata of the issuer', async () => {
    const http = answering(json({ ...METADATA, enrollment_endpoint: `${ISSUER}/enroll`, more: 1 }));
    await expect(discover(http, ISSUER)).resolves.toEqual({
      ...METADATA,
      enrollment_endpoint: `${ISSUER}/enroll`,
    });
    expect(http.asked).toEqual([{ method: 'GET', url: metadataUrl(ISSUER) }]);
  });

  test('hands the signal on', async () => {
    const http = answering(json(METADATA));
    const { signal } = new AbortController();
    await discover(http, ISSUER, signal);
    expect(http.asked[0]?.signal).toBe(signal);
  });

  test.each([
    { name: 'another issuer', response: json({ ...METADATA, issuer: 'https://evil.example' }) },
    { name: 'the issuer with a slash', response: json({ ...METADATA, issuer: `${ISSUER}/` }) },
    { name: 'no issuer', response: json({ ...METADATA, issuer: undefined }) },
    { name: 'no token endpoint', response: json({ ...METADATA, token_endpoint: undefined }) },
    {
      name: 'a token endpoint that is no URL',
      response: json({ ...METADATA, token_endpoint: '/token' }),
    },
    {
      name: 'an enrollment endpoint that is no URL',
      response: json({ ...METADATA, enrollment_endpoint: 7 }),
    },
    { name: 'no jwks_uri', response: json({ ...METADATA, jwks_uri: null }) },
    { name: 'an array', response: json([METADATA]) },
    { name: 'null', response: json(null) },
    { name: 'no JSON', response: { body: '<html>' } },
    { name: 'nothing', response: {} },
    { name: 'a redirect', response: { ...json(METADATA), status: 302 } },
    { name: '201', response: json(METADATA, 201) },
    { name: '404', response: json(METADATA, 404) },
    { name: '500', response: json(METADATA, 500) },
  ])('refused: $name', async ({ response }) => {
    await expect(discover(answering(response), ISSUER)).rejects.toThrow(UnreachableError);
  });
});

describe('requestToken', () => {
  const request = (http: HttpClient, more: object = {}) =>
    requestToken({
      http,
      metadata: METADATA,
      issuer: ISSUER,
      clientId: CLIENT_ID,
      signer: createKeySigner(KEY),
      now: NOW,
      ...more,
    });
  const granted = { access_token: 'a.b.c', token_type: 'Bearer', expires_in: 900, scope: 'pub:a' };

  test.each([
    { name: 'said', answer: { may_mint: true }, mayMint: true },
    { name: 'denied', answer: { may_mint: false }, mayMint: false },
  ])('that the client may mint is $name by the server', async ({ answer, mayMint }) => {
    const http = answering(json({ ...granted, ...answer }));
    await expect(request(http)).resolves.toMatchObject({ mayMint });
  });

  test('posts a fresh assertion to the token endpoint', async () => {
    const http = answering(json(granted));
    const { signal } = new AbortController();
    await expect(
      request(http, { resource: 'mqtts://broker.example', scope: 'pub:a sub:b', signal }),
    ).resolves.toEqual({
      accessToken: 'a.b.c',
      issuedAt: NOW,
      expiresAt: NOW + 900,
      scope: 'pub:a',
      mayMint: false,
    });
    const [asked] = http.asked;
    expect(asked).toMatchObject({
      method: 'POST',
      url: `${ISSUER}/token`,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      signal,
    });
    const { assertion, ...form } = Object.fromEntries(new URLSearchParams(asked?.body));
    expect(form).toEqual({
      grant_type: JWT_BEARER_GRANT,
      resource: 'mqtts://broker.example',
      scope: 'pub:a sub:b',
    });
    const findKey = async () => KEY.publicKey;
    await expect(
      verifyAssertion(assertion, { issuer: ISSUER, use: 'grant', now: NOW, findKey }),
    ).resolves.toMatchObject({ clientId: CLIENT_ID });
  });

  test('two requests never use one assertion', async () => {
    const http = answering(json(granted));
    await request(http);
    await request(http);
    expect(http.asked[0]?.body).not.toBe(http.asked[1]?.body);
    expect(http.asked[0]?.body).not.toContain('resource');
    expect(http.asked[0]).not.toHaveProperty('signal');
  });

  test('scope may be absent, and bearer in any case', async () => {
    const answer = { ...granted, scope: undefined, token_type: 'bearer' };
    await expect(request(answering(json(answer)))).resolves.toMatchObject({ scope: '' });
  });

  test.each([
    { name: 'no token', change: { access_token: undefined } },
    { name: 'an empty token', change: { access_token: '' } },
    { name: 'another token type', change: { token_type: 'DPoP' } },
    { name: 'no lifetime', change: { expires_in: undefined } },
    { name: 'a lifetime of 0', change: { expires_in: 0 } },
    { name: 'a negative lifetime', change: { expires_in: -1 } },
    { name: 'a fraction', change: { expires_in: 1.5 } },
    { name: 'a lifetime as text', change: { expires_in: '900' } },
    { name: 'scope as array', change: { scope: ['pub:a'] } },
  ])('an answer with $name is not usable, and no token gets into the error', async ({ change }) => {
    const body = { ...granted, access_token: 'hunter2', ...change };
    const failure = await request(answering(json(body))).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UnreachableError);
    expect(String(failure)).not.toContain('hunter2');
  });

  test.each([
    {
      name: 'a refusal',
      response: json({ error: 'invalid_grant' }, 400),
      error: TokenRequestError,
    },
    { name: 'no JSON', response: { body: 'ok' }, error: UnreachableError },
    { name: '204', response: { status: 204 }, error: UnreachableError },
    { name: 'a redirect', response: { status: 307 }, error: UnreachableError },
  ])('throws on $name', async ({ response, error }) => {
    await expect(request(answering(response))).rejects.toThrow(error);
  });
});

describe('refusalOf', () => {
  const textOf = (value: unknown) => {
    const body = typeof value === 'string' ? value : JSON.stringify(value);
    return { body, bytes: Buffer.from(body) };
  };
  const date = 'Thu, 09 Oct 2025 08:53:20 GMT';
  const answer = (status: number, body: unknown, headers: HttpResponse['headers'] = {}) =>
    refusalOf({ status, headers, ...textOf(body) }, 'x');

  test.each([400, 401, 403, 404, 418, 499])('%i with an OAuth error is a refusal', (status) => {
    expect(
      answer(status, { error: 'invalid_grant', error_description: 'why' }, { date }),
    ).toMatchObject({
      name: 'TokenRequestError',
      error: 'invalid_grant',
      message: 'invalid_grant: why',
      status,
      serverDate: 1_760_000_000,
    });
  });

  test.each([200, 302, 429, 500, 502, 503])('%i means: try again later', (status) => {
    expect(answer(status, { error: 'invalid_grant' })).toBeInstanceOf(UnreachableError);
  });

  test.each([
    '',
    '<html>',
    '[]',
    '{}',
    'null',
    '{"error":7}',
    '{"error":"a","error_description":7}',
  ])('a refusal that says %j is not from an authorization server', (body) => {
    expect(answer(400, body)).toBeInstanceOf(UnreachableError);
  });

  test.each([
    { headers: {}, is: undefined },
    { headers: { date: 'soon' }, is: undefined },
    { headers: { date: [date, 'x'] }, is: 1_760_000_000 },
  ])('the server clock with $headers', ({ headers, is }) => {
    expect(answer(400, { error: 'invalid_grant' }, headers)).toMatchObject({
      serverDate: is,
      message: 'invalid_grant',
    });
  });
});
