/**
 * The running programs of the stack and what they have logged so far: wait for something to happen,
 * notice when a program ends unasked, end them all.
 *
 * Units   milliseconds.
 * Errors  `Error` with the program's last words; the signal's reason when the stack is being stopped.
 * Source  the programs' log events.
 *
 * @module
 */
import { EventEmitter, once } from 'node:events';
import type { Narrator } from './narrator.js';
import { type LogLine, type Program, type RunningProgram, start } from './programs.js';
import { AIR_CONDITIONER, TOPICS } from './settings.js';

/** What must have been seen for the run to count as a success. */
export const MILESTONES = {
  reading: 'a reading of the thermostat was published',
  command: 'a command reached the air conditioner',
  state: 'the air conditioner published its state',
  refusal: 'the air conditioner was refused when it published as the thermostat',
} as const;
export type Milestone = keyof typeof MILESTONES;

function milestoneOf({ event, topic, clientId }: LogLine): Milestone | undefined {
  if (event === 'publish.allowed' && topic === TOPICS.temperature) return 'reading';
  if (event === 'message.received' && topic === TOPICS.power) return 'command';
  if (event === 'publish.allowed' && topic === TOPICS.state) return 'state';
  if (event === 'publish.refused' && clientId === AIR_CONDITIONER) return 'refusal';
  return undefined;
}

const WAIT_MS = 30_000;

export interface Stage {
  readonly reached: ReadonlySet<Milestone>;
  /** Rejects when a program ends unasked; never resolves. */
  readonly failure: Promise<never>;
  /** Resolves when the milestone has been seen. */
  untilReached(milestone: Milestone): Promise<void>;
  /** Resolves at the program's next line that satisfies. */
  nextLine(name: string, satisfies: (line: LogLine) => boolean): Promise<void>;
  /** Starts a program and waits for the line that says it is ready. */
  launch(
    name: string,
    program: Program,
    args: readonly string[],
    isReady: (line: LogLine) => boolean,
  ): Promise<RunningProgram>;
  /** Ends all programs, the last started first. */
  stopAll(): Promise<void>;
}

export function createStage(narrator: Narrator, signal: AbortSignal): Stage {
  const programs: RunningProgram[] = [];
  const reached = new Set<Milestone>();
  const lines = new EventEmitter();
  let isStopping = false;
  const failures = new EventEmitter();
  const failure = once(failures, 'failure').then(([error]): never => {
    throw error;
  });
  failure.catch(() => undefined); // whoever waits sees it

  const onLine = (name: string, line: LogLine) => {
    if (signal.aborted || isStopping) return;
    narrator.tell(name, line);
    const milestone = milestoneOf(line);
    if (milestone !== undefined) reached.add(milestone);
    lines.emit('line', name, line);
  };

  /** Waits until `isReached` holds; it is asked again after each line. */
  const until = async (isReached: () => boolean, what: string): Promise<void> => {
    const timeout = AbortSignal.timeout(WAIT_MS);
    const limit = AbortSignal.any([signal, timeout]);
    while (!isReached()) {
      try {
        await Promise.race([once(lines, 'line', { signal: limit }), failure]);
      } catch (error) {
        throw timeout.aborted && !signal.aborted
          ? new Error(`gave up waiting until ${what}`)
          : error;
      }
    }
  };

  return {
    reached,
    failure,
    untilReached: (milestone) => until(() => reached.has(milestone), MILESTONES[milestone]),
    nextLine: (name, satisfies) => {
      let isSeen = false;
      const look = (from: string, line: LogLine) => {
        isSeen ||= from === name && satisfies(line);
      };
      lines.on('line', look);
      return until(() => isSeen, `${name} logged what was expected`).finally(() =>
        lines.off('line', look),
      );
    },
    launch: async (name, program, args, isReady) => {
      let isUp = false;
      const running = start(name, program, args, (line) => {
        isUp ||= isReady(line);
        onLine(name, line);
      });
      programs.push(running);
      void running.ended.then(({ exitCode, lastWords }) => {
        failures.emit(
          'failure',
          new Error(`${name} ended unasked (exit ${exitCode})\n${lastWords}`),
        );
      });
      await until(() => isUp, `${name} was ready`);
      return running;
    },
    stopAll: async () => {
      isStopping = true;
      for (const program of programs.reverse()) await program.stop();
    },
  };
}
