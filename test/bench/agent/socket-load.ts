/** A process that publishes through the local socket of an agent, by HTTP as any program does. */
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { answerWith } from '../asked-process.ts';
import { PAYLOAD, type PublishAnswer, type PublishQuestion, TOPIC } from './messages.ts';

const socketPath = process.argv[2] as string;
const agent = new Agent({ keepAlive: true });
const message = { topic: TOPIC, payload: PAYLOAD };

function call(method: string, path: string, content = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(content),
    };
    const call = request({ socketPath, agent, method, path, headers }, (response) => {
      text(response).then((answer) => {
        if ((response.statusCode ?? 500) < 300) resolve(answer);
        else reject(new Error(`${response.statusCode} ${answer}`));
      }, reject);
    });
    call.once('error', reject);
    call.end(content);
  });
}

async function outboxIsEmpty(): Promise<boolean> {
  const { outbox } = JSON.parse(await call('GET', '/status')) as {
    readonly outbox: { readonly messages: number };
  };
  return outbox.messages === 0;
}

/** The answer to an array tells of each message. */
const isRefused = (answer: string): boolean => /"status":[45]/.test(answer);

answerWith(async ({ count, group, atOnce, everyMs }: PublishQuestion): Promise<PublishAnswer> => {
  const body = JSON.stringify(group === 1 ? message : Array(group).fill(message));
  const begun = performance.now();
  let sent = 0;
  const publishGroups = async (): Promise<void> => {
    while (sent < count) {
      sent += group;
      const answer = await call('POST', '/publish', body);
      if (isRefused(answer)) throw new Error(answer);
      if (everyMs > 0) await delay(everyMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, publishGroups));
  while (!(await outboxIsEmpty())) await delay(2);
  return { ms: performance.now() - begun };
});
