/**
 * Turns the programs' log events into lines for a person: who connected, what was allowed by which
 * scope, what was refused and why.
 *
 * Units   none.
 * Errors  none; an event it does not know is left out.
 * Source  the events in each program's README section.
 *
 * @module
 */
import { styleText } from 'node:util';
import { systemClock } from '@latchkey/shared';
import type { LogLine } from './programs.js';

type Tone = 'plain' | 'good' | 'bad' | 'quiet';

interface Story {
  readonly tone: Tone;
  readonly text: string;
}

const COLOURS = { plain: 'reset', good: 'green', bad: 'red', quiet: 'dim' } as const;

const reasonOf = (line: LogLine) => `${line.reason}${line.detail ? `: ${line.detail}` : ''}`;
const decision = (line: LogLine, verb: string) => `${line.clientId} ${verb} ${line.topic}`;

const STORIES: Readonly<Record<string, (line: LogLine) => Story | undefined>> = {
  'token.issued': ({ clientId, scope }) =>
    // Each command of the operator takes a token; the commands themselves are told already.
    clientId === 'operator'
      ? undefined
      : { tone: 'plain', text: `token for ${clientId}, scope ${scope}` },
  'token.refused': (l) => ({
    tone: 'bad',
    text: `no token: ${l.error} (${l.detail ?? 'no detail'})`,
  }),
  'client.enrolled': (l) => ({ tone: 'good', text: `enrolled ${l.clientId} with key ${l.kid}` }),
  'connect.accepted': (l) => ({ tone: 'good', text: `connected ${l.clientId} from ${l.address}` }),
  'connect.refused': (l) => ({
    tone: 'bad',
    text: `refused connection of ${l.mqttClientId}, return code ${l.returnCode} (${reasonOf(l)})`,
  }),
  'publish.allowed': (l) => ({
    tone: 'good',
    text: `allowed ${decision(l, 'publish')}  by ${l.scope}`,
  }),
  'publish.refused': (l) => ({
    tone: 'bad',
    text: `REFUSED ${decision(l, 'publish')}  ${reasonOf(l)}`,
  }),
  'subscribe.allowed': (l) => ({
    tone: 'good',
    text: `allowed ${decision(l, 'subscribe')}  by ${l.scope}`,
  }),
  'subscribe.refused': (l) => ({
    tone: 'bad',
    text: `REFUSED ${decision(l, 'subscribe')}  ${reasonOf(l)}`,
  }),
  'receive.refused': (l) => ({
    tone: 'bad',
    text: `REFUSED ${decision(l, 'receive')}  ${reasonOf(l)}`,
  }),
  'session.expired': (l) => ({
    tone: 'quiet',
    text: `token of ${l.clientId} expired, session closed`,
  }),
  'agent.state': (l) => ({ tone: 'quiet', text: `${l.state}${l.detail ? ` (${l.detail})` : ''}` }),
  'message.received': (l) => ({ tone: 'plain', text: `received ${l.topic}` }),
  'message.refused': (l) => ({ tone: 'bad', text: `told that publishing ${l.topic} was refused` }),
  'action.run': (l) => ({ tone: 'plain', text: `ran ${l.name}, exit ${l.exitCode}` }),
};

const NAME_WIDTH = 16;

export interface Narrator {
  /** A sentence of the stack's own. */
  say(text: string): void;
  /** A log line of a program, told if it is worth telling. */
  tell(name: string, line: LogLine): void;
}

export function createNarrator(out: NodeJS.WriteStream, isColoured: boolean): Narrator {
  const paint = (tone: Tone, text: string) => (isColoured ? styleText(COLOURS[tone], text) : text);
  const startedAtMs = systemClock.nowMs();
  return {
    say: (text) => out.write(`${text}\n`),
    tell: (name, line) => {
      const story = typeof line.event === 'string' ? STORIES[line.event]?.(line) : undefined;
      if (story === undefined) return;
      const at = ((systemClock.nowMs() - startedAtMs) / 1000).toFixed(1).padStart(6);
      out.write(`${at}s  ${name.padEnd(NAME_WIDTH)} ${paint(story.tone, story.text)}\n`);
    },
  };
}
