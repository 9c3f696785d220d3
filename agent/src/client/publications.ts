/**
 * Messages on their way from a program to the agent: in their order, many in one request when they come fast.
 *
 * Units   counts, sizes in bytes.
 * Errors  `AgentError`, for each message its own.
 * Source  `local/publish.ts`.
 *
 * @module
 */
import { AgentError, errorOf } from './agent-error.js';
import type { Body, Requests } from './requests.js';

/** Bounds of one request; the agent takes 512 KiB and 1000 messages. */
const MAX_REQUEST_BYTES = 384 * 1024;
const MAX_REQUEST_MESSAGES = 500;
/** Of messages that wait for the broker the agent keeps fewer in mind. */
const MAX_WAITING_MESSAGES = 50;
const MAX_QUEUED = 10_000;

export interface PublishOptions {
  /** Default 1. */
  readonly qos?: 0 | 1 | 2;
  /** Whether the broker keeps it for later subscribers. Default false. */
  readonly isRetained?: boolean;
  /** `stored` (default): safe on this device's disk. `delivered`: the broker acknowledged it. */
  readonly until?: 'stored' | 'delivered';
}

export interface Published {
  /** Whether the broker has it. If not, the agent keeps it until it has. */
  readonly isDelivered: boolean;
}

export interface Publications {
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<Published>;
}

interface Item {
  readonly text: string;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: AgentError) => void;
}

function settle({ resolve, reject }: Item, status: number, body: Body): void {
  if (status === 200 || status === 202) resolve({ isDelivered: body.is_acknowledged === true });
  else reject(errorOf(status, body));
}

/** One after the other request, each with all that came meanwhile. */
function createLane(requests: Requests, maxMessages: number) {
  const queue: Item[] = [];
  let isBusy = false;

  const takeBatch = (): Item[] => {
    let sizeBytes = 0;
    let count = 0;
    for (const { text } of queue) {
      sizeBytes += Buffer.byteLength(text) + 1;
      if (count > 0 && (sizeBytes > MAX_REQUEST_BYTES || count >= maxMessages)) break;
      count += 1;
    }
    return queue.splice(0, count);
  };

  const send = async (batch: readonly Item[]): Promise<void> => {
    const text = `[${batch.map((item) => item.text).join(',')}]`;
    const { status, body } = await requests.send('POST', '/publish', text);
    const { results } = body;
    if (status === 207 && Array.isArray(results) && results.length === batch.length) {
      for (const [index, item] of batch.entries())
        settle(item, results[index].status, results[index]);
    } else if (batch.length === 1) {
      for (const item of batch) item.reject(errorOf(status, body));
    } else {
      for (const item of batch) await send([item]); // one is malformed: which shows alone
    }
  };

  const work = async (): Promise<void> => {
    isBusy = true;
    while (queue.length > 0) {
      const batch = takeBatch();
      try {
        await send(batch);
      } catch (error) {
        const failure =
          error instanceof AgentError ? error : new AgentError('failed', String(error));
        for (const { reject } of batch) reject(failure);
      }
    }
    isBusy = false;
  };

  return (text: string): Promise<Published> =>
    new Promise((resolve, reject) => {
      if (queue.length >= MAX_QUEUED) {
        reject(new AgentError('unavailable', `${MAX_QUEUED} messages wait for the agent already`));
        return;
      }
      queue.push({ text, resolve, reject });
      if (!isBusy) void work();
    });
}

export function createPublications(requests: Requests): Publications {
  const lanes = {
    stored: createLane(requests, MAX_REQUEST_MESSAGES),
    delivered: createLane(requests, MAX_WAITING_MESSAGES),
  };
  return {
    publish: (topic, payload, { qos = 1, isRetained = false, until = 'stored' }) => {
      const content =
        typeof payload === 'string'
          ? { payload }
          : { payload_base64: Buffer.from(payload).toString('base64') };
      const wait = until === 'delivered';
      return lanes[until](JSON.stringify({ topic, ...content, qos, retain: isRetained, wait }));
    },
  };
}
