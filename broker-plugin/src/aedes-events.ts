/**
 * What the plugin hears from the broker: CONNACK written, PINGREQ, and errors.
 *
 * Units   none.
 * Errors  none escape; an error of the broker that nobody heard would end the process.
 * Source  STANDARDS 5.2, 5.3 (1); DESIGN 9 (I1, I3, I5).
 *
 * @module
 */
import type { EventEmitter } from 'node:events';
import type { Clock, Logger } from '@latchkey/shared';
import { addressOf } from './aedes-connect.js';
import type { Aedes, Client } from './aedes-types.js';
import { forLog } from './decision-log.js';
import { asError } from './host-hooks.js';
import type { Notify } from './notices.js';
import type { Session, Sessions } from './sessions.js';
import type { StreamGuards } from './stream-guard.js';

export function listenToBroker(
  broker: Aedes,
  deps: {
    readonly sessions: Sessions;
    readonly guards: StreamGuards;
    /** Sessions end by it, after `exp` when there is a grace. */
    readonly sessionClock: Clock;
    readonly logger: Logger;
    readonly notify: Notify;
    readonly sessionOf: (client: Client) => Session | undefined;
    /** Ends the session, if there is one, and closes the connection, but not within this call. */
    readonly closeLater: (client: Client) => void;
  },
): void {
  const { sessions, guards, sessionClock, logger, notify, sessionOf, closeLater } = deps;

  broker.on('connackSent', ({ returnCode, reasonCode }, client) => {
    const session = sessionOf(client);
    if ((returnCode ?? reasonCode) !== 0 || session?.state !== 'accepted') return;
    sessions.begin(session);
    guards.release(client.conn);
    const { clientId, jti, expiresAt } = session.context;
    const notice = {
      clientId,
      mqttClientId: client.id,
      jti,
      expiresAt,
      address: addressOf(client),
    };
    logger.info({ event: 'connect.accepted', ...notice }, 'connection accepted');
    notify('connect', notice);
  });

  broker.on('ping', (_packet, client) => {
    const session = sessionOf(client);
    if (session === undefined || sessionClock.now() >= session.context.expiresAt)
      closeLater(client);
  });

  // Without a listener an error ends the process, and a refused will of a dead broker is one.
  (broker as EventEmitter).on('error', (error: unknown) => {
    const detail = forLog(asError(error).message);
    logger.error({ event: 'broker.error', detail }, 'the broker reports an error');
  });

  const onClientError = (client: Client, error: Error): void => {
    // A second CONNECT is reported with the whole packet: the token goes before any listener of the
    // host can write it to a log (I1).
    const { info } = error as { info?: { username?: unknown; password?: unknown } };
    delete info?.username;
    delete info?.password;
    const fields = {
      event: 'connection.failed',
      mqttClientId: client.id === null ? undefined : forLog(client.id),
      detail: forLog(error.message),
    };
    logger.debug(fields, 'connection failed');
  };
  broker.prependListener('clientError', onClientError);
  broker.prependListener('connectionError', onClientError);
}
