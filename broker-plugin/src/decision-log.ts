/**
 * Writes decisions to the log, in one form, with every text from the wire bounded.
 *
 * Units   lengths in characters.
 * Errors  none.
 * Source  DESIGN 6 (`explain`), 9 (I1, I11, I12); STANDARDS 6.32.
 *
 * @module
 */
import type { Logger, TopicRequest } from '@latchkey/shared';
import type { TopicDecision } from './authorize.js';
import { describeDecision } from './explain.js';
import type { Notify } from './notices.js';
import type { SessionContext } from './verify-token.js';

const MAX_TEXT_LENGTH = 256;
/** A JWT begins with `{"` in base64url. */
const TOKEN_LIKE = /eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*/g;

/** A text from the wire, cut to what a log line should hold; a token in the wrong place is not shown. */
export function forLog(text: string): string {
  const cut = text.length <= MAX_TEXT_LENGTH ? text : `${text.slice(0, MAX_TEXT_LENGTH)}…`;
  return cut.replace(TOKEN_LIKE, '[token]');
}

export interface DecisionLog {
  /** Allowed decisions at debug, at no cost when debug is off; refusals at warn and as an event. */
  write(context: SessionContext, request: TopicRequest, decision: TopicDecision): void;
}

export function createDecisionLog(deps: {
  readonly logger: Logger;
  readonly notify: Notify;
}): DecisionLog {
  const { logger, notify } = deps;
  return {
    write: ({ clientId }, request, decision) => {
      if (decision.allowed && logger.isLevelEnabled?.('debug') === false) return;
      const { action } = request;
      const topic = forLog(request.topic);
      const fields = {
        clientId,
        topic,
        ...(action === 'receive' ? {} : { qos: request.qos }),
        ...(action === 'publish' ? { retain: request.retain } : {}),
      };
      const why = describeDecision(decision);
      if (why.allowed) {
        const { scope } = why;
        logger.debug({ event: `${action}.allowed`, ...fields, scope }, `${action} allowed`);
        return;
      }
      const { reason, nearest } = why;
      const detail = forLog(why.detail);
      const closest = nearest === undefined ? {} : { nearest };
      logger.warn(
        { event: `${action}.refused`, ...fields, reason, detail, ...closest },
        `${action} refused`,
      );
      if (action === 'receive') return;
      notify(`${action}-refused`, { clientId, topic, reason, detail, nearest });
    },
  };
}
