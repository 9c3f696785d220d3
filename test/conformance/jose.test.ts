/** jose with a remote key set: how a resource server in any Node program verifies our tokens. */
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { signedJwt } from '../helpers/jwts.ts';
import { ORDERS, startAuthority } from '../helpers/listening-authority.ts';
import { post } from '../helpers/oauth-requests.ts';
import { BROKER, execSql } from '../helpers/test-authority.ts';

const grant = { grant_type: 'client_credentials' };

describe('an issued token', () => {
  test.each(['EdDSA', 'Ed25519', 'ES256', 'RS256'])('of alg %s verifies', async (alg) => {
    const { authority, shop } = await startAuthority();
    execSql(authority, `UPDATE resource SET signing_alg = '${alg}' WHERE identifier = '${ORDERS}'`);
    const { body } = await post(authority, '/token', { ...grant, resource: ORDERS }, shop.basic);
    const keys = createRemoteJWKSet(new URL(`${authority.issuer}/jwks`));
    const { payload, protectedHeader } = await jwtVerify(String(body.access_token), keys, {
      issuer: authority.issuer,
      audience: ORDERS,
      typ: 'at+jwt',
      algorithms: [alg],
      requiredClaims: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'],
    });
    expect(protectedHeader.alg).toBe(alg);
    expect(payload).toMatchObject({ client_id: 'shop', scope: 'orders:read orders:write' });
  });

  test('for a broker verifies, and not for another audience', async () => {
    const { authority, device } = await startAuthority();
    const { body } = await authority.token(await device.assertion());
    const token = (body as { access_token: string }).access_token;
    const keys = createRemoteJWKSet(new URL(`${authority.issuer}/jwks`));
    const verify = (audience: string) =>
      jwtVerify(token, keys, { issuer: authority.issuer, audience, typ: 'at+jwt' });
    expect((await verify(BROKER)).payload.sub).toBe('t-42');
    await expect(verify(ORDERS)).rejects.toMatchObject({ code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' });
  });
});

test('a minted token verifies with the key set of its client, and after a revocation with none', async () => {
  const { authority, device } = await startAuthority();
  const issuer = `${authority.issuer}/clients/t-42`;
  const now = authority.clock.now();
  const minted = signedJwt(
    { alg: 'EdDSA', typ: 'at+jwt', kid: device.key.publicKey.kid },
    { iss: issuer, sub: 't-42', client_id: 't-42', aud: BROKER, iat: now, exp: now + 60 },
    device.key,
  );
  const verify = () =>
    jwtVerify(minted, createRemoteJWKSet(new URL(`${issuer}/jwks`)), { issuer, audience: BROKER });
  expect((await verify()).payload.client_id).toBe('t-42');
  await authority.registry.setClientStatus(device.clientId, 'revoked');
  await expect(verify()).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' });
});
