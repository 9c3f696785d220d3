/**
 * What the plugin tells the program around it: typed events, one for each thing that happened.
 *
 * A listener can do no harm: what it throws, or rejects with, is logged and goes no further.
 *
 * Units   instants as NumericDate.
 * Errors  none.
 * Source  DESIGN 6, 9 (I1, I2): no notice holds a token, texts from the wire are bounded.
 *
 * @module
 */
import { EventEmitter } from 'node:events';
import type { Logger, NumericDate } from '@latchkey/shared';
import { asError } from './host-hooks.js';

export interface ConnectNotice {
  readonly clientId: string;
  readonly mqttClientId: string;
  /** Of the token; a third party's may have none. */
  readonly jti: string | undefined;
  readonly expiresAt: NumericDate;
  readonly address: string | undefined;
}

export interface ConnectRefusedNotice {
  /** As the CONNECT has it: nobody vouches for it. `undefined` when there was no CONNECT to read. */
  readonly mqttClientId: string | undefined;
  /** An OAuth error code, or how the connection broke the protocol. */
  readonly reason: string;
  /** Of the CONNACK; `undefined` when the connection was closed without one. */
  readonly returnCode: number | undefined;
  readonly address: string | undefined;
}

/** An address, or a client id at an address, is refused for a while. */
export interface BannedNotice {
  readonly reason: 'address' | 'client';
  readonly address: string;
  /** As the refused CONNECTs had it; `undefined` when the whole address is banned. */
  readonly mqttClientId: string | undefined;
  readonly banSeconds: number;
}

export interface RefusedNotice {
  readonly clientId: string;
  readonly topic: string;
  readonly reason: string;
  readonly detail: string;
  /** The scope that comes closest, when there is one. */
  readonly nearest: string | undefined;
}

export interface RenewedNotice {
  readonly clientId: string;
  readonly jti: string | undefined;
  readonly expiresAt: NumericDate;
}

export interface LatchkeyEvents {
  connect: [ConnectNotice];
  'connect-refused': [ConnectRefusedNotice];
  banned: [BannedNotice];
  'publish-refused': [RefusedNotice];
  'subscribe-refused': [RefusedNotice];
  renewed: [RenewedNotice];
  'renew-refused': [{ readonly clientId: string | undefined; readonly reason: string }];
  expired: [{ readonly clientId: string }];
  /** The queue of a stored session was full. */
  'message-dropped': [{ readonly mqttClientId: string }];
  /** `revoked`: the client is refused from now on. `lost-rights`: it lost a subscription. */
  revoked: [{ readonly clientId: string; readonly reason: 'revoked' | 'lost-rights' }];
}
export type EventName = keyof LatchkeyEvents;

/** Tells of one thing that happened. Never throws. */
export type Notify = <Name extends EventName>(name: Name, notice: LatchkeyEvents[Name][0]) => void;

/** Counts what is told; it comes before the listeners. */
export type Count = (name: EventName, reason: string | undefined) => void;

/** The part of the emitter that a program around the plugin uses. */
export type Events = Pick<EventEmitter<LatchkeyEvents>, 'on' | 'once' | 'off' | 'listenerCount'>;

export function createNotices(deps: { readonly logger: Logger; readonly count: Count }): {
  readonly events: Events;
  readonly notify: Notify;
} {
  const { logger, count } = deps;
  const emitter = new EventEmitter<LatchkeyEvents>({ captureRejections: true });
  const logFailure = (thrown: unknown): void => {
    const detail = asError(thrown).stack;
    logger.error({ event: 'listener.failed', detail }, 'a listener of the host failed');
  };
  Object.assign(emitter, { [EventEmitter.captureRejectionSymbol]: logFailure });
  return {
    events: emitter,
    notify: (name, notice) => {
      count(name, 'reason' in notice ? notice.reason : undefined);
      try {
        // The compiler does not see that one name and one notice belong together.
        (emitter as EventEmitter).emit(name, notice);
      } catch (error) {
        logFailure(error);
      }
    },
  };
}
