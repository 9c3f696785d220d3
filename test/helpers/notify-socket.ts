/**
 * A service manager's end of sd_notify(3): a real datagram socket, which Node cannot open, held by Python.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { temporaryDir } from './processes.ts';

export interface NotifySocket {
  /** For `NOTIFY_SOCKET`. */
  readonly address: string;
  /** Assignments of each datagram, in order. */
  readonly messages: readonly Readonly<Record<string, string>>[];
  /** Resolves with the first datagram, past or future, that satisfies. */
  message(
    satisfies: (message: Readonly<Record<string, string>>) => boolean,
  ): Promise<Readonly<Record<string, string>>>;
}

/** Closes what comes along: the sender of `BARRIER=1` waits for that. */
const RECEIVER = `
import array, json, os, socket, sys
address = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\\0' + address[1:] if address.startswith('@') else address)
print(json.dumps('bound'), flush=True)
while True:
    text, ancillary, _, _ = receiver.recvmsg(65536, socket.CMSG_SPACE(64))
    print(json.dumps(text.decode()), flush=True)
    for level, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            for descriptor in array.array('i', data):
                os.close(descriptor)
`;

let count = 0;

export async function startNotifySocket({ isAbstract = false } = {}): Promise<NotifySocket> {
  count += 1;
  const address = isAbstract
    ? `@latchkey-test-${process.pid}-${count}`
    : join(temporaryDir(), 'notify');
  const child = spawn('python3', ['-c', RECEIVER, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const messages: Record<string, string>[] = [];
  const news = new EventEmitter().setMaxListeners(0);
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  lines.on('line', (line) => {
    const assignments = (JSON.parse(line) as string)
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]);
    const message = Object.fromEntries(assignments) as Record<string, string>;
    if ('BARRIER' in message) return;
    messages.push(message);
    news.emit('news');
  });
  return {
    address,
    messages,
    message: async (satisfies) => {
      for (let next = 0; ; ) {
        while (next < messages.length) {
          const found = messages[next] as Record<string, string>;
          next += 1;
          if (satisfies(found)) return found;
        }
        await once(news, 'news');
      }
    },
  };
}
