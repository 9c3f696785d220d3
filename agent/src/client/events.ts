/**
 * Server-sent events as the agent writes them: two lines, `event:` and `data:` with a JSON object.
 *
 * Units   sizes in bytes, milliseconds.
 * Errors  those of the connection.
 * Source  `local/subscribe.ts`; https://html.spec.whatwg.org/multipage/server-sent-events.html.
 *
 * @module
 */
import type { IncomingMessage } from 'node:http';

export interface AgentEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** No message is longer. */
const MAX_EVENT_LENGTH = 4 * 1024 * 1024;
/** The agent says something every 15 seconds. */
const SILENCE_MS = 45_000;

function parseEvent(block: string): AgentEvent | undefined {
  let event = 'message';
  let data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
  }
  return data === '' ? undefined : { event, data: JSON.parse(data) };
}

/** The events up to the end of the answer; reads no further than they are taken. */
export async function* readEvents(response: IncomingMessage): AsyncGenerator<AgentEvent, void> {
  response.setEncoding('utf8');
  const { socket } = response;
  const gone = (): void => void response.destroy(new Error('the agent says nothing any more'));
  socket.on('timeout', gone);
  let rest = '';
  socket.setTimeout(SILENCE_MS);
  for await (const chunk of response as AsyncIterable<string>) {
    socket.setTimeout(0); // while the program is busy it is not the agent that is silent
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > MAX_EVENT_LENGTH) throw new Error('the agent sends an event without end');
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event !== undefined) yield event;
    }
    socket.setTimeout(SILENCE_MS);
  }
}
