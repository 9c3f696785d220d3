/**
 * A small HTTP client on `node:http`: no redirects, bounded answers, one deadline, http on loopback only.
 *
 * It is the one file of this package that opens sockets; the operator's command line, the broker's
 * key fetcher and the agent all use it. (`fetch` would add the memory of undici to every agent.)
 *
 * Units   `timeoutMs` in milliseconds for the whole exchange, sizes in bytes.
 * Errors  `UnreachableError` when no usable answer came; any HTTP status is an answer.
 * Source  RFC 9110; STANDARDS 6.12 (redirects not followed, TLS errors fatal).
 *
 * @module
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { UnreachableError } from './errors.js';
import { isLoopbackHost } from './ids.js';
import { createPinningAgent, type TlsPin } from './tls-pin.js';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** In place of the client's own bounds. */
  readonly timeoutMs?: number;
  readonly maxBodyBytes?: number;
  /** What the server must show beyond a valid certificate. The same object for all requests to it. */
  readonly trust?: TlsTrust | undefined;
}

export interface HttpResponse {
  readonly status: number;
  /** Lower-case names. Repeated headers are joined by the rules of `node:http`. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Buffer;
  /** The bytes as UTF-8. */
  readonly body: string;
}

/** Public keys, of which the server must have one. */
export interface TlsTrust {
  readonly pins: readonly TlsPin[];
}

export interface HttpClient {
  request(request: HttpRequest): Promise<HttpResponse>;
}

export interface HttpClientOptions {
  /** Default 10,000. */
  readonly timeoutMs?: number;
  /** Default 1 MiB. */
  readonly maxBodyBytes?: number;
  /** PEM of the certificate authorities to trust instead of the system's. */
  readonly ca?: string;
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`the answer exceeds ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function createHttpClient(options: HttpClientOptions = {}): HttpClient {
  const { timeoutMs: usualMs = 10_000, maxBodyBytes: mostBytes = 1024 * 1024, ca } = options;

  const pinning = new WeakMap<TlsTrust, HttpsAgent>();
  const agentFor = (trust: TlsTrust): HttpsAgent => {
    const agent = pinning.get(trust) ?? createPinningAgent(trust.pins);
    pinning.set(trust, agent);
    return agent;
  };

  const exchange = async (
    { method, url, headers = {}, body, maxBodyBytes = mostBytes, trust }: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> => {
    const target = new URL(url);
    const isTls = target.protocol === 'https:';
    if (!isTls && !(target.protocol === 'http:' && isLoopbackHost(target.hostname))) {
      throw new Error('only https is allowed beyond loopback');
    }
    if (trust !== undefined && !isTls) throw new Error('only https has a TLS key that is pinned');
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = (isTls ? httpsRequest : httpRequest)(target, {
        method,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
        },
        signal,
        ...(ca === undefined ? {} : { ca }),
        ...(trust === undefined ? {} : { agent: agentFor(trust) }),
      });
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
      outgoing.end(body);
    });
    const bytes = await readBody(response, maxBodyBytes);
    return {
      status: response.statusCode as number,
      headers: response.headers,
      bytes,
      get body() {
        return bytes.toString('utf8');
      },
    };
  };

  return {
    request: async (request) => {
      const { signal, url, timeoutMs = usualMs } = request;
      // Not AbortSignal.any: what it makes is remembered by a long-lived signal for ever (Node 20).
      const ending = new AbortController();
      const end = () => ending.abort(signal?.reason);
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        end();
      }, timeoutMs);
      timer.unref();
      signal?.addEventListener('abort', end);
      if (signal?.aborted) end();
      try {
        return await exchange(request, ending.signal);
      } catch (cause) {
        // When all addresses of a name refuse, the error has no message but a code.
        const { message, code } = cause as NodeJS.ErrnoException;
        const late = isLate ? `no answer within ${timeoutMs} ms` : '';
        const why = [late, message, code].find((text) => text);
        throw new UnreachableError(`cannot reach ${new URL(url).origin}: ${why}`, { cause });
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
      }
    },
  };
}

/** The same client, for servers with one of these keys only. Without pins the client as it is. */
export function withTlsPins(http: HttpClient, pins: readonly TlsPin[]): HttpClient {
  if (pins.length === 0) return http;
  const trust = { pins };
  return { request: (request) => http.request({ ...request, trust }) };
}
