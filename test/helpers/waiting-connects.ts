/**
 * CONNECTs that wait, so that a test can look at a broker in the middle of one.
 *
 * @module
 */
import type { Socket } from 'node:net';
import type { IssuerServer } from './issuer-server.ts';
import { overTcp, type WireClient } from './mqtt-wire.ts';

/** Keeps requests for the keys waiting until they are released, so that CONNECTs wait as well. */
export function holdKeys(issuer: IssuerServer): { readonly asked: Promise<void>; release(): void } {
  const waiting: (() => void)[] = [];
  const asked = new Promise<void>((resolve) => {
    issuer.answer = (path, response) => {
      if (path !== '/jwks') return false;
      waiting.push(() => response.end(JSON.stringify({ keys: issuer.keys })));
      resolve();
      return true;
    };
  });
  return {
    asked,
    release: () => {
      for (const answer of waiting) answer();
    },
  };
}

/** Another connection on the same machine is refused behind the CONNECT of this one, so that one is in. */
export async function untilHolding(client: WireClient): Promise<void> {
  const { remotePort } = client.stream as Socket;
  const other = await overTcp(remotePort as number);
  other.send(Buffer.from([0xff, 0xff]));
  await other.closed;
}
