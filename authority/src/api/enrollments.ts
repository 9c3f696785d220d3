/**
 * `/api/v1/enrollments`: one-time secrets by which devices bind their key.
 *
 * The code is in the answer to its creation and nowhere else: the registry keeps a hash.
 *
 * Units   `expires_in_seconds`, 1 to 31,536,000, default 3600; `expires_at`: NumericDate.
 * Errors  problem details.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import {
  type Clock,
  FormatError,
  hashEnrollmentCode,
  type Logger,
  newEnrollmentCode,
  parseClientId,
  parsedBy,
  parseWith,
} from '@latchkey/shared';
import * as v from 'valibot';
import { parseIdPattern } from '../registry/id-pattern.js';
import type { Enrollment, EnrollmentTarget, Registry } from '../registry/registry.js';
import { labelsField, rolesField, wholeNumberField } from './fields.js';
import type { Noun } from './noun.js';

const MAX_USES = 1_000_000;
const MAX_EXPIRES_IN_SECONDS = 31_536_000;
const DEFAULT_EXPIRES_IN_SECONDS = 3600;
const ID = /^[1-9][0-9]{0,14}$/;

const schema = v.strictObject({
  client_id: v.optional(v.pipe(v.string(), parsedBy(parseClientId))),
  id_pattern: v.optional(v.pipe(v.string(), parsedBy(parseIdPattern))),
  roles: v.optional(rolesField, []),
  labels: v.optional(labelsField, {}),
  uses: v.optional(wholeNumberField(1, MAX_USES), 1),
  expires_in_seconds: v.optional(
    wholeNumberField(1, MAX_EXPIRES_IN_SECONDS),
    DEFAULT_EXPIRES_IN_SECONDS,
  ),
});

function targetOf({ client_id, id_pattern, uses }: v.InferOutput<typeof schema>): EnrollmentTarget {
  if (client_id === undefined) return { idPattern: id_pattern ?? '*' };
  if (id_pattern !== undefined) throw new FormatError('id_pattern', 'excludes client_id');
  if (uses !== 1) throw new FormatError('uses', 'must be 1 for a code of one client_id');
  return { clientId: client_id };
}

const toJson = (enrollment: Enrollment) => ({
  id: enrollment.id,
  client_id: 'clientId' in enrollment.target ? enrollment.target.clientId : null,
  id_pattern: 'idPattern' in enrollment.target ? enrollment.target.idPattern : null,
  roles: enrollment.roles,
  labels: Object.fromEntries(enrollment.labels),
  uses: enrollment.uses,
  uses_left: enrollment.usesLeft,
  expires_at: enrollment.expiresAt,
  created_at: enrollment.createdAt,
});

export function enrollmentsNoun(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
}): Noun<Enrollment> {
  const { registry, clock, logger } = deps;
  return {
    name: 'enrollment',
    path: '/enrollments',
    create: async (body) => {
      const request = parseWith(schema, body, 'the request');
      const code = newEnrollmentCode();
      const enrollment = await registry.createEnrollment({
        codeHash: hashEnrollmentCode(code),
        target: targetOf(request),
        roles: request.roles,
        labels: request.labels,
        uses: request.uses,
        expiresAt: clock.now() + request.expires_in_seconds,
      });
      logger.info({ event: 'enrollment.created', enrollment: enrollment.id }, 'enrollment created');
      return { enrollment_code: code, ...toJson(enrollment) };
    },
    show: async (id) => (ID.test(id) ? registry.enrollment(Number(id)) : undefined),
    list: async (page) => {
      if (page.after !== undefined && !ID.test(page.after)) {
        throw new FormatError('after', 'must be `next` of the page before');
      }
      return registry.listEnrollments(page);
    },
    toJson,
  };
}
