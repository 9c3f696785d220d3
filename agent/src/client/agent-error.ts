/**
 * What can go wrong between a program and the agent on its device.
 *
 * Units   none.
 * Errors  This file defines them.
 * Source  `local/routes.ts`.
 *
 * @module
 */

/**
 * `refused`: this device, or this socket, may not. `not-kept`: the outbox has no room. `invalid`: the request
 * is malformed or too large. `unavailable`: no agent answers, or it cannot do it now; later it may. `closed`: the
 * client was closed. `failed`: the agent failed; its log says more.
 */
export type AgentErrorCode =
  | 'refused'
  | 'not-kept'
  | 'invalid'
  | 'unavailable'
  | 'closed'
  | 'failed';

export class AgentError extends Error {
  readonly code: AgentErrorCode;

  constructor(code: AgentErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'AgentError';
    this.code = code;
  }
}

/** The error that an answer of the agent stands for. */
export function errorOf(status: number, body: Readonly<Record<string, unknown>>): AgentError {
  const { error_description: description } = body;
  const text = typeof description === 'string' ? description : `the agent answered ${status}`;
  if (status === 403) return new AgentError('refused', text);
  if (status === 507) return new AgentError('not-kept', text);
  if (status === 503) return new AgentError('unavailable', text);
  return new AgentError(status < 500 ? 'invalid' : 'failed', text);
}
