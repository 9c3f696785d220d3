/**
 * What the routes of the local socket have in common: answers as JSON, and bodies of bounded size.
 *
 * Units   sizes in bytes.
 * Errors  `RequestError`: the request is at fault; it holds the answer.
 * Source  RFC 9110 15.5 (client errors); invariant I11.
 *
 * @module
 */
import type { IncomingMessage } from 'node:http';
import { ConfigError, parseWith } from '@latchkey/shared';
import type * as v from 'valibot';

export interface Answer {
  readonly status: number;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>>;
}

const MAX_BODY_BYTES = 512 * 1024;

export function refusal(status: number, error: string, description: string): Answer {
  return { status, body: { error, error_description: description } };
}

export class RequestError extends Error {
  readonly answer: Answer;

  constructor(status: number, error: string, description: string) {
    super(description);
    this.name = 'RequestError';
    this.answer = refusal(status, error, description);
  }
}

export const invalid = (description: string): RequestError =>
  new RequestError(400, 'invalid_request', description);

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) {
      throw new RequestError(413, 'invalid_request', `the body exceeds ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The value, if it has the form. */
export function parseValue<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
): v.InferOutput<Schema> {
  try {
    return parseWith(schema, value, 'the request');
  } catch (error) {
    if (error instanceof ConfigError) throw invalid(error.message);
    throw error;
  }
}

/** The body as a JSON value. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const text = await readText(request);
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('the request is not JSON');
  }
}
