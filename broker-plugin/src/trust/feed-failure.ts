/**
 * What a failure of the trust feed means: its name in log and metrics, how long to wait, what to do.
 *
 * Nothing here makes the broker accept anything: whatever failed, the replica stays as it was.
 *
 * Units   milliseconds.
 * Errors  `FeedAnswerError` for an answer that is no page.
 * Source  DESIGN 8; RFC 9110 10.2.3 (Retry-After), RFC 6585 4 (429).
 *
 * @module
 */
import {
  CoseError,
  FEED_CLOCK_TOLERANCE_SECONDS,
  FeedError,
  type HttpResponse,
  parseHttpDate,
  TokenRequestError,
  UnavailableError,
  UnreachableError,
} from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';

/** What the authority answered in place of a page. */
export class FeedAnswerError extends Error {
  readonly status: number;
  /** How long the authority asked us to wait. */
  readonly retryAfterMs: number;

  constructor({ status, headers }: HttpResponse, nowMs: number) {
    super(`the feed answered ${status}`);
    this.name = 'FeedAnswerError';
    this.status = status;
    this.retryAfterMs = readRetryAfter(headers['retry-after'], nowMs);
  }
}

/** The authority may ask for this much and no more, else one bad header would end the feed. */
const MAX_RETRY_AFTER_MS = 300_000;

function readRetryAfter(header: string | string[] | undefined, nowMs: number): number {
  const text = Array.isArray(header) ? header[0] : header;
  const at = parseHttpDate(text);
  const isSeconds = text !== undefined && /^[0-9]{1,9}$/.test(text);
  const ms = isSeconds ? Number(text) * 1000 : at === undefined ? 0 : at * 1000 - nowMs;
  return Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

export interface FeedFailure {
  /** One of a few: a label of a metric. */
  readonly reason: string;
  readonly detail: string;
  /** What an operator can do; `undefined`: nothing but wait. */
  readonly advice: string | undefined;
  readonly retryAfterMs: number;
}

const RESTORED =
  'if the authority was restored from a backup on purpose: run "latchkey feed renew" there';
const CREDENTIALS =
  'is the client of [feed] active at the authority, is its key the one in the key file, and has its role the permission feed:read?';
const OTHER_ANSWERER = 'does something between broker and authority keep or change answers?';

const ADVICE: Readonly<Record<string, string>> = {
  rollback: RESTORED,
  stale: `the authority's clock went back by more than ${FEED_CLOCK_TOLERANCE_SECONDS} s, or an old answer came`,
  nonce: OTHER_ANSWERER,
  gap: OTHER_ANSWERER,
  'feed-id': OTHER_ANSWERER,
  signature: OTHER_ANSWERER,
  malformed: 'are broker and authority of versions that fit each other?',
  unauthorized: CREDENTIALS,
  token: CREDENTIALS,
  forbidden: 'the client of [feed] needs a role with the permission feed:read',
  request: 'is the audience of this broker a resource at the authority?',
  storage: 'is the disk of the state file full or failing?',
};

function answerReason(status: number): string {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 400 || status === 404 || status === 422) return 'request';
  return status === 429 || status === 503 ? 'busy' : 'answer';
}

function reasonOf(error: unknown): string {
  if (error instanceof FeedAnswerError) return answerReason(error.status);
  if (error instanceof FeedError || error instanceof CoseError) return error.reason;
  if (error instanceof TokenRequestError) return 'token';
  if (error instanceof UnreachableError || error instanceof UnavailableError) return 'unreachable';
  return error instanceof SqliteDatabase.SqliteError ? 'storage' : 'unexpected';
}

/** Reason `unexpected`: a bug, which the caller logs with its stack. */
export function describeFeedFailure(error: unknown): FeedFailure {
  const reason = reasonOf(error);
  return {
    reason,
    detail: error instanceof Error ? error.message : String(error),
    advice: ADVICE[reason],
    retryAfterMs: error instanceof FeedAnswerError ? error.retryAfterMs : 0,
  };
}
