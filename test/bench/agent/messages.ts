/** What the suite asks of the two that publish, and what they answer. */

/** Publishes so many messages, and answers when the broker has acknowledged all. */
export interface PublishQuestion {
  readonly count: number;
  /** Messages that are handed over together. */
  readonly group: number;
  /** Groups on their way at any time. */
  readonly atOnce: number;
  /** Pause after each group; 0: as fast as it goes. */
  readonly everyMs: number;
}

export interface PublishAnswer {
  readonly ms: number;
}

export const PAYLOAD: string = JSON.stringify({
  value: 26.543,
  unit: 'celsius',
  at: 1_760_000_000,
});
export const TOPIC = 'devices/agent/telemetry/temperature';
