/**
 * What can go wrong between agent and broker, as far as somebody must tell the cases apart.
 *
 * Units   `returnCode`: CONNACK return code of MQTT 3.1.1.
 * Errors  This file defines them.
 * Source  MQTT 3.1.1 3.2.2.3; STANDARDS 4.4.
 *
 * @module
 */

const RETURN_CODES = new Map([
  [1, 'protocol version not accepted'],
  [2, 'client identifier refused'],
  [3, 'broker unavailable'],
  [4, 'token refused'],
  [5, 'not authorized'],
]);

/** The broker answered CONNECT with another return code than 0. */
export class ConnectRefusedError extends Error {
  readonly returnCode: number;

  constructor(returnCode: number) {
    super(`the broker refused the connection: ${RETURN_CODES.get(returnCode) ?? 'unknown reason'}`);
    this.name = 'ConnectRefusedError';
    this.returnCode = returnCode;
  }
}

/** The broker does not let us publish this; MQTT 3.1.1 can say so only by closing the connection. */
export class PublishRefusedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PublishRefusedError';
  }
}

/** The message was not sent, or its fate is unknown; sending it again later is right. */
export class OfflineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OfflineError';
  }
}

/** The outbox cannot keep the message: nothing of it was accepted. */
export class OutboxFullError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OutboxFullError';
  }
}
