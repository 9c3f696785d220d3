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
import { type Clock, FormatError, hashEnrollmentCode, newEnrollmentCode } from '@latchkey/shared';
import * as v from 'valibot';
import { parseIdPattern } from '../registry/id-pattern.js';
import type { Enrollment, EnrollmentTarget, Registry } from '../registry/registry.js';
import { clientIdField, labelsField, rolesField, textField, wholeNumberField } from './fields.js';
import { found, pageAnswer, pageOf, pageQuery, readId } from './noun.js';
import { type Json, type Route, type RouteAnswer, route } from './route.js';

const MAX_USES = 1_000_000;
const MAX_EXPIRES_IN_SECONDS = 31_536_000;
const DEFAULT_EXPIRES_IN_SECONDS = 3600;
const ID = /^[1-9][0-9]{0,14}$/;

const newEnrollment = v.strictObject({
  client_id: v.optional(clientIdField),
  id_pattern: v.optional(
    textField((text) => parseIdPattern(text), { maxLength: 64, examples: ['t-*'] }),
  ),
  roles: v.optional(rolesField, []),
  labels: v.optional(labelsField, {}),
  uses: v.optional(wholeNumberField(1, MAX_USES), 1),
  expires_in_seconds: v.optional(
    wholeNumberField(1, MAX_EXPIRES_IN_SECONDS),
    DEFAULT_EXPIRES_IN_SECONDS,
  ),
});
const empty = v.strictObject({});
const shownEntries = {
  id: v.number(),
  client_id: v.nullable(v.string()),
  id_pattern: v.nullable(v.string()),
  roles: v.array(v.string()),
  labels: v.record(v.string(), v.string()),
  uses: v.number(),
  uses_left: v.number(),
  expires_at: v.number(),
  revoked_at: v.nullable(v.number()),
  created_at: v.number(),
  version: v.number(),
};
const shown = v.strictObject(shownEntries);
/** The only answer that holds a code. */
const shownNew = v.strictObject({ enrollment_code: v.string(), ...shownEntries });

type NewBody = v.InferOutput<typeof newEnrollment>;

function targetOf({ client_id, id_pattern, uses }: NewBody): EnrollmentTarget {
  if (client_id === undefined) return { idPattern: id_pattern ?? '*' };
  if (id_pattern !== undefined) throw new FormatError('id_pattern', 'excludes client_id');
  if (uses !== 1) throw new FormatError('uses', 'must be 1 for a code of one client_id');
  return { clientId: client_id };
}

const toJson = (enrollment: Enrollment): Json => ({
  id: enrollment.id,
  client_id: 'clientId' in enrollment.target ? enrollment.target.clientId : null,
  id_pattern: 'idPattern' in enrollment.target ? enrollment.target.idPattern : null,
  roles: enrollment.roles,
  labels: Object.fromEntries(enrollment.labels),
  uses: enrollment.uses,
  uses_left: enrollment.usesLeft,
  expires_at: enrollment.expiresAt,
  revoked_at: enrollment.revokedAt ?? null,
  created_at: enrollment.createdAt,
  version: enrollment.version,
});

const toAnswer = (enrollment: Enrollment): RouteAnswer => ({
  body: toJson(enrollment),
  version: enrollment.version,
  target: enrollment.id,
});

const READ = { scope: 'enrollments:read', concerns: 'clients' } as const;
const WRITE = { scope: 'enrollments:write', concerns: 'clients' } as const;

function parseId(text: string): number {
  if (!ID.test(text)) throw new FormatError('id', 'must be a number');
  return Number(text);
}
const idOf = ({ id }: Readonly<Record<string, string>>) => readId(parseId, id, 'enrollment');

export function enrollmentRoutes(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
}): readonly Route[] {
  const { registry, clock } = deps;
  return [
    route({
      method: 'POST',
      path: '/enrollments',
      needs: WRITE,
      summary: 'Make an enrollment code; it is in this answer only',
      body: newEnrollment,
      answer: shownNew,
      success: 201,
      change: { event: 'enrollment.created', subject: 'enrollment' },
      handle: async ({ operator, body }) => {
        const code = newEnrollmentCode();
        const { roles, labels, uses, expires_in_seconds } = body;
        const enrollment = await registry.createEnrollment(
          {
            codeHash: hashEnrollmentCode(code),
            target: targetOf(body),
            ...{ roles, labels, uses },
            expiresAt: clock.now() + expires_in_seconds,
          },
          operator.reach,
        );
        const answer = toAnswer(enrollment);
        return { ...answer, body: { enrollment_code: code, ...answer.body } };
      },
    }),
    route({
      method: 'GET',
      path: '/enrollments',
      needs: READ,
      summary: 'List enrollments',
      query: pageQuery,
      answer: pageOf(shown),
      success: 200,
      handle: async ({ operator, query }) => {
        if (query.after !== undefined && !ID.test(query.after)) {
          throw new FormatError('after', 'must be `next` of the page before');
        }
        return pageAnswer(await registry.listEnrollments(query, operator.reach), toJson);
      },
    }),
    route({
      method: 'GET',
      path: '/enrollments/:id',
      needs: READ,
      summary: 'Show an enrollment, without its code',
      answer: shown,
      success: 200,
      handle: async ({ operator, params }) =>
        toAnswer(found(await registry.enrollment(idOf(params), operator.reach), 'enrollment')),
    }),
    route({
      method: 'POST',
      path: '/enrollments/:id/revoke',
      needs: WRITE,
      summary: 'Make an enrollment code worthless; devices that used it stay',
      body: empty,
      answer: shown,
      success: 200,
      isConditional: true,
      change: { event: 'enrollment.revoked', subject: 'enrollment' },
      handle: async ({ params, condition }) =>
        toAnswer(await registry.revokeEnrollment(idOf(params), condition)),
    }),
  ];
}
