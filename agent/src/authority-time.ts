/**
 * The authority's time, on a device whose own clock may be wrong, set at any moment, or never set at all.
 *
 * An answer of the authority tells its time. From then on that time runs with the time since the machine
 * started: setting the machine's clock changes nothing about it, and a suspension is part of it. Before
 * the first answer it is the machine's clock, for want of a better one.
 *
 * Units   milliseconds, NumericDate, seconds.
 * Errors  none.
 * Source  DESIGN 7 (wrong clock: learned from an authenticated answer, no wider tolerances);
 *         STANDARDS 2.3; RFC 9110 5.6.7 (`Date`, whole seconds), 5.6.7 and RFC 9111 5.1 (`Age`).
 *
 * @module
 */
import {
  type Clock,
  type HttpClient,
  type HttpResponse,
  type Issuer,
  type Logger,
  type NumericDate,
  parseHttpDate,
} from '@latchkey/shared';

export interface AuthorityTime extends Clock {
  /** Whether the authority told its time since the machine started. */
  readonly isKnown: boolean;
  /** The authority's time in milliseconds when the machine started; constant until it starts again. */
  readonly atStartMs: number | undefined;
  /** By how many whole seconds the machine's clock is ahead; below 2 s it counts as right. */
  aheadSeconds(): number;
  /** Learns from an answer that bears this date to a request sent at `sentAtMs` of `elapsedMs`. */
  learn(date: NumericDate, sentAtMs: number): void;
  /** Takes over what an earlier run learned since the machine started. */
  restore(atStartMs: number): void;
}

/** A smaller change of the clock is not worth a word. */
const JUMP_MS = 1000;
/** A header says whole seconds, and the authority's machines may differ a little among themselves. */
const SLACK_MS = 1000;
const RIGHT_WITHIN_SECONDS = 2;
/** From here on an operator should hear of it. */
const NOTABLE_SECONDS = 60;

export function createAuthorityTime(deps: {
  readonly machine: Clock;
  readonly logger: Logger;
}): AuthorityTime {
  const { machine, logger } = deps;
  let atStartMs: number | undefined;
  let warnedOfSeconds = 0;
  /** The two differences between the machine's three clocks, as last judged. */
  let suspendedMs = machine.uptimeMs() - machine.elapsedMs();
  let shownMs = machine.nowMs() - machine.elapsedMs();

  /** Says whether the machine was suspended or its clock was set; seen from outside both look alike. */
  const judgeJump = (elapsedMs: number, nextShownMs: number): void => {
    const nextSuspendedMs = machine.uptimeMs() - elapsedMs;
    const asleepMs = nextSuspendedMs - suspendedMs;
    const setByMs = nextShownMs - shownMs - asleepMs;
    suspendedMs = nextSuspendedMs;
    shownMs = nextShownMs;
    const tell = (event: string, ms: number, message: string): void => {
      if (Math.abs(ms) < JUMP_MS) return;
      logger.warn({ event, seconds: Math.round(ms / 1000) }, message);
    };
    tell('clock.suspended', asleepMs, 'the machine was suspended');
    tell('clock.set', setByMs, 'the clock of the machine was set');
  };

  /** Reads two clocks that cost nothing; the third, which costs a system call, after a jump only. */
  const uptimeMs = (): number => {
    const elapsedMs = machine.elapsedMs();
    const nextShownMs = machine.nowMs() - elapsedMs;
    if (Math.abs(nextShownMs - shownMs) >= JUMP_MS) judgeJump(elapsedMs, nextShownMs);
    return elapsedMs + suspendedMs;
  };
  const nowMs = (): number => {
    const upMs = uptimeMs();
    return atStartMs === undefined ? machine.nowMs() : atStartMs + upMs;
  };
  const aheadSeconds = (): number => {
    const seconds = Math.round((machine.nowMs() - nowMs()) / 1000);
    return Math.abs(seconds) < RIGHT_WITHIN_SECONDS ? 0 : seconds;
  };

  const warn = (): void => {
    const seconds = aheadSeconds();
    if (Math.abs(seconds - warnedOfSeconds) < NOTABLE_SECONDS) return;
    warnedOfSeconds = seconds;
    const event = 'clock.compared';
    if (seconds === 0) logger.info({ event, aheadSeconds: seconds }, 'the clock is right again');
    else logger.warn({ event, aheadSeconds: seconds }, 'the clock is wrong; it is allowed for');
  };

  return {
    get isKnown() {
      return atStartMs !== undefined;
    },
    get atStartMs() {
      return atStartMs;
    },
    now: () => Math.floor(nowMs() / 1000),
    nowMs,
    elapsedMs: () => machine.elapsedMs(),
    uptimeMs: () => machine.uptimeMs(),
    sleep: (ms, signal) => machine.sleep(ms, signal),
    aheadSeconds,
    learn: (date, sentAtMs) => {
      const presentMs = nowMs();
      const roundTripMs = machine.elapsedMs() - sentAtMs;
      // Within that second the answer was made, at the earliest when the request was sent.
      const earliestMs = date * 1000;
      const latestMs = earliestMs + 1000 + roundTripMs;
      const isRight = earliestMs - SLACK_MS <= presentMs && presentMs <= latestMs + SLACK_MS;
      const learnedMs = isRight ? presentMs : (earliestMs + latestMs) / 2;
      if (!isRight || atStartMs === undefined) atStartMs = learnedMs - uptimeMs();
      warn();
    },
    restore: (restoredMs) => {
      atStartMs = restoredMs;
      warn();
    },
  };
}

/** The date of an answer that was made for this request: one from a cache is of an unknown time. */
function dateOf({ headers: { date, age } }: HttpResponse): NumericDate | undefined {
  if (age !== undefined && age !== '0') return undefined;
  return typeof date === 'string' ? parseHttpDate(date) : undefined;
}

/**
 * The same HTTP client, from whose answers the time is learned. Only from the issuer's: the client has
 * verified who that is (TLS), or talks to this machine.
 */
export function learnTimeFrom(
  http: HttpClient,
  issuer: Issuer,
  time: AuthorityTime,
  onLearned: () => void = () => undefined,
): HttpClient {
  const { origin } = new URL(issuer);
  return {
    request: async (request) => {
      const sentAtMs = time.elapsedMs();
      const response = await http.request(request);
      const date = dateOf(response);
      if (date !== undefined && new URL(request.url).origin === origin) {
        time.learn(date, sentAtMs);
        onLearned();
      }
      return response;
    },
  };
}
