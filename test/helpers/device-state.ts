/**
 * A real authority on a port of this machine with the device `t-42`, and the state folder of that device.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openIdentity } from '@latchkey/agent/daemon';
import {
  createHttpClient,
  createKeySigner,
  discover,
  exportPrivatePem,
  type PrivateKey,
  requestToken,
  type Signer,
} from '@latchkey/shared';
import { startAuthority } from './listening-authority.ts';
import { temporaryDir } from './processes.ts';
import { BROKER, type TestAuthority, type TestDevice } from './test-authority.ts';

export interface DeviceState {
  readonly authority: TestAuthority;
  readonly device: TestDevice;
  readonly stateDir: string;
  file(name: string): string;
  identity(): { readonly kid: string; readonly key_since?: number };
  /** Whether the authority gives a token to whoever signs so. */
  isAccepted(signer: Signer | PrivateKey): Promise<boolean>;
  /** Whether the state folder has a key in use that the authority accepts. */
  isUsable(): Promise<boolean>;
  /** Thumbprints of the keys that the authority has for the device. */
  registered(): Promise<readonly string[]>;
}

export async function startDeviceState(): Promise<DeviceState> {
  const { authority, device } = await startAuthority();
  const { issuer } = authority;
  const stateDir = join(temporaryDir(), 'state');
  const file = (name: string): string => join(stateDir, name);
  mkdirSync(stateDir, { mode: 0o700 });
  const { kid } = device.key.publicKey;
  writeFileSync(file('device-key.pem'), exportPrivatePem(device.key), { mode: 0o600 });
  writeFileSync(file('identity.json'), JSON.stringify({ issuer, client_id: 't-42', kid }), {
    mode: 0o600,
  });
  const http = createHttpClient();
  const isAccepted = async (given: Signer | PrivateKey): Promise<boolean> => {
    const signer = 'sign' in given ? given : createKeySigner(given);
    const metadata = await discover(http, issuer);
    const { clientId } = device;
    const now = authority.clock.now();
    const request = { http, metadata, issuer, clientId, signer, now, resource: BROKER };
    return requestToken(request).then(
      () => true,
      () => false,
    );
  };
  return {
    authority,
    device,
    stateDir,
    file,
    identity: () => JSON.parse(readFileSync(file('identity.json'), 'utf8')),
    isAccepted,
    isUsable: async () => isAccepted((await openIdentity(stateDir)).signer),
    registered: async () => {
      const { body } = await authority.api('GET', '/clients/t-42/keys');
      return (body as { items: { kid: string }[] }).items.map((key) => key.kid);
    },
  };
}
