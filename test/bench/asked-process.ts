/**
 * A process that answers questions one at a time: it is forked, asked, and stopped.
 *
 * Units   none.
 * Errors  what the process throws for a question is thrown again where it was asked.
 *
 * @module
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';

type Reply<Answer> =
  | { readonly answer: Answer }
  | { readonly failed: string }
  | { readonly isReady: true };

export interface AskedProcess<Question, Answer> {
  readonly pid: number;
  ask(question: Question): Promise<Answer>;
  stop(): Promise<void>;
}

/** Resolves when the process is ready to be asked. */
export async function startAsked<Question extends object, Answer>(
  script: string,
  { args = [], execArgv = [] }: { readonly args?: string[]; readonly execArgv?: string[] } = {},
): Promise<AskedProcess<Question, Answer>> {
  const child = fork(script, args, { serialization: 'advanced', execArgv });
  const failed = new AbortController();
  child.on('exit', (code) => failed.abort(new Error(`${script} ended with code ${code}`)));
  const reply = async (): Promise<Reply<Answer>> => {
    const [message] = (await once(child, 'message', { signal: failed.signal })) as [Reply<Answer>];
    if ('failed' in message) throw new Error(message.failed);
    return message;
  };
  await reply();
  return {
    pid: child.pid as number,
    ask: async (question) => {
      child.send(question);
      return ((await reply()) as { readonly answer: Answer }).answer;
    },
    stop: async () => {
      if (failed.signal.aborted) return;
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

/** In the process itself: answers every question from now on. */
export function answerWith<Question, Answer>(
  answer: (question: Question) => Promise<Answer>,
): void {
  process.on('message', (question: Question) => {
    answer(question)
      .then(
        (value): Reply<Answer> => ({ answer: value }),
        (error: unknown): Reply<Answer> => ({ failed: String((error as Error)?.stack ?? error) }),
      )
      .then((reply) => process.send?.(reply))
      .catch(() => process.exit(1));
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ isReady: true });
}
