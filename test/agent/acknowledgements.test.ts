import { expect, test } from 'vitest';
import { createAcknowledgements } from '../../agent/src/acknowledgements.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';

function setUp() {
  const clock = createDrivenClock();
  let timeouts = 0;
  const onTimeout = () => {
    timeouts += 1;
  };
  const waiting = createAcknowledgements<string>({ clock, timeoutMs: 20_000, onTimeout });
  /** Sends a message; `settled` tells how it ended. */
  const send = () => {
    const settled: string[] = [];
    let acknowledge = (): void => undefined;
    const sent = waiting.wait(
      (acknowledged) => {
        acknowledge = acknowledged;
      },
      (end) => new Error(end),
    );
    sent.then(
      () => settled.push('acknowledged'),
      (error: Error) => settled.push(error.message),
    );
    return { settled, acknowledge: () => acknowledge() };
  };
  return { clock, waiting, send, timeouts: () => timeouts };
}

test('the oldest message without an answer decides, to the millisecond', async () => {
  const { clock, send, timeouts } = setUp();
  const first = send();
  await clock.advance(1000);
  send();
  await clock.advance(1000);
  first.acknowledge();
  await clock.advance(18_999);
  expect(timeouts()).toBe(0);
  await clock.advance(1);
  expect(timeouts()).toBe(1);
  expect(first.settled).toEqual(['acknowledged']);
});

test('what was answered in time never times out, and one sent later is watched anew', async () => {
  const { clock, send, timeouts } = setUp();
  send().acknowledge();
  await clock.advance(100_000);
  expect(timeouts()).toBe(0);
  send();
  await clock.advance(19_999);
  expect(timeouts()).toBe(0);
  await clock.advance(1);
  expect(timeouts()).toBe(1);
});

test('a clock that is set is no time that passed', async () => {
  const { clock, send, timeouts } = setUp();
  send();
  clock.set(clock.now() + 86_400);
  await clock.advance(19_999);
  expect(timeouts()).toBe(0);
});

test('the close fails all that wait, and nothing that was answered; then nothing is watched', async () => {
  const { clock, waiting, send, timeouts } = setUp();
  const messages = [send(), send(), send()];
  messages[1]?.acknowledge();
  waiting.fail('closed');
  await clock.advance(100_000);
  expect(messages.map(({ settled }) => settled)).toEqual([
    ['closed'],
    ['acknowledged'],
    ['closed'],
  ]);
  expect(timeouts()).toBe(0);
});
