/**
 * Renewal in the session, as Aedes sees it: a PUBLISH that is taken over and never routed.
 *
 * It is the one decision on a publication that is not synchronous. Aedes goes on with the packets
 * behind it meanwhile, in their order; they are judged by the old rights until the new ones stand.
 * The token is out of the packet before anything else looks at it, and `broker.publish` knows the
 * topic, so that nothing is stored, retained, queued, emitted or told to a listener.
 *
 * Units   milliseconds where a name says so.
 * Errors  none escape; a renewal that is refused closes the connection, in MQTT 5 after PUBACK 0x87.
 * Source  DESIGN 4 (renewal in the session), 9 (I1, I2, I4, I5); STANDARDS 5.2, 5.3 (2, 3).
 *
 * @module
 */
import {
  InvalidRequestError,
  type Logger,
  OAuthError,
  RENEW_TOPIC,
  UnavailableError,
} from '@latchkey/shared';
import type { RightsChanges } from './aedes-rights.js';
import { type Aedes, type Client, type Hook, isMqtt5, type PublishPacket } from './aedes-types.js';
import { forLog } from './decision-log.js';
import { asError, once } from './host-hooks.js';
import { REASON, type ReasonCode } from './mqtt-codes.js';
import type { Notify } from './notices.js';
import type { Renew, RenewRequest } from './renew.js';
import type { Session } from './sessions.js';
import type { WithinTime } from './time-limit.js';

export interface Renewals {
  /** Takes over what is a renewal; everything else goes to `usual`. */
  authorizePublish(usual: Hook<'authorizePublish'>): Hook<'authorizePublish'>;
}

/** As Aedes itself calls it: with the client in between, if there is one. */
type Publish = (packet: PublishPacket, client?: unknown, done?: unknown) => void;

const EMPTY = Buffer.alloc(0);

/** Takes the token out of the packet. Afterwards the packet may be seen by anybody. */
function takeRequest(packet: PublishPacket): RenewRequest {
  const { payload, qos, retain } = packet;
  packet.payload = EMPTY;
  return { token: Buffer.from(payload), qos, retain };
}

/** What was decided before the swap is on its way to the socket by then. */
const afterThisTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function createRenewals(deps: {
  readonly broker: Aedes;
  readonly renew: Renew;
  readonly rightsChanges: RightsChanges;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly withinTime: WithinTime;
  readonly sessionOf: (client: Client) => Session | undefined;
  /** Ends the session, telling a client of MQTT 5 why. */
  readonly endRefused: (client: Client, code: ReasonCode) => void;
}): Renewals {
  const { broker, renew, rightsChanges, logger, notify, withinTime, sessionOf, endRefused } = deps;
  const underWay = new WeakSet<Session>();

  const publish = broker.publish as Publish;
  const publishOthers: Publish = (packet, client, done) => {
    if (packet.topic !== RENEW_TOPIC) {
      publish.call(broker, packet, client, done);
      return;
    }
    const callback = typeof client === 'function' ? client : done;
    if (typeof callback === 'function') callback();
  };
  broker.publish = publishOthers;

  const swap = async (client: Client, session: Session, request: RenewRequest): Promise<void> => {
    const context = await renew(session.context, request);
    if (session.state !== 'live') throw new UnavailableError('the session has ended meanwhile');
    const endedSubscriptions = await rightsChanges.swap(client, session, context);
    await afterThisTurn();
    const { clientId, jti, expiresAt } = context;
    const fields = { event: 'session.renewed', clientId, jti, expiresAt, endedSubscriptions };
    logger.info(fields, 'session renewed');
    notify('renewed', { clientId, jti, expiresAt });
  };

  const logRefusal = (clientId: string | undefined, thrown: unknown): void => {
    const error = asError(thrown);
    const isOAuth = error instanceof OAuthError;
    const reason = isOAuth ? error.error : 'failed';
    const fields = {
      event: 'renew.refused',
      clientId,
      reason,
      detail: forLog((isOAuth ? error.detail : undefined) ?? error.message),
    };
    logger.warn(fields, 'renewal refused');
    notify('renew-refused', { clientId, reason });
  };

  return {
    authorizePublish: (usual) => (client, packet, callback) => {
      // What is no PUBLISH is a will, and that topic takes none.
      if (packet.topic !== RENEW_TOPIC || packet.cmd !== 'publish' || client === null) {
        usual(client, packet, callback);
        return;
      }
      const answer = once(callback);
      const request = takeRequest(packet);
      const session = sessionOf(client);
      const refuse = (thrown: unknown): void => {
        logRefusal(session?.context.clientId, thrown);
        answer(new Error('not authorized to renew'));
        // Aedes 1 has closed the connection by now. In MQTT 5 it has written PUBACK 0x87, or nothing,
        // and goes on; but who fails to authenticate again is disconnected [MQTT-4.12.1-2].
        const isRefused = thrown instanceof OAuthError && !(thrown instanceof UnavailableError);
        if (isMqtt5(client)) {
          endRefused(client, isRefused ? REASON.notAuthorized : REASON.unspecified);
        }
      };
      if (session?.state !== 'live') {
        refuse(new InvalidRequestError('no session is live here'));
        return;
      }
      if (underWay.has(session)) {
        refuse(new InvalidRequestError('a renewal is under way already'));
        return;
      }
      underWay.add(session);
      withinTime(swap(client, session, request))
        .then(() => answer(null), refuse)
        .finally(() => underWay.delete(session))
        .catch(() => undefined);
    },
  };
}
