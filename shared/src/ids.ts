/**
 * Identifiers as branded strings, each with the one parser that makes them.
 *
 * Units   lengths in characters.
 * Errors  `FormatError`, naming the field; the value is never echoed.
 * Source  DESIGN 4 (client ids, templates), RFC 8707 2 (resource), RFC 8414 2 (issuer),
 *         RFC 6749 3.3 (scope-token), RFC 7638 (thumbprint).
 *
 * @module
 */
import { FormatError } from './errors.js';

declare const brand: unique symbol;
/** A string that went through the parser of its kind. */
export type Branded<Name extends string> = string & { readonly [brand]: Name };

/** OAuth client id of a device or service; safe inside a topic level and a URL path. */
export type ClientId = Branded<'ClientId'>;
/** RFC 7638 SHA-256 thumbprint: 43 base64url characters. */
export type Kid = Branded<'Kid'>;
/** Identifier of a resource server: an absolute URI without fragment, compared as a string. */
export type ResourceId = Branded<'ResourceId'>;
/** Issuer identifier: https, or http on loopback; no query, fragment or trailing slash. */
export type Issuer = Branded<'Issuer'>;

const CLIENT_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;

export function parseClientId(value: unknown, field = 'client_id'): ClientId {
  if (typeof value !== 'string' || !CLIENT_ID.test(value)) {
    throw new FormatError(
      field,
      'must be 1 to 64 characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit',
    );
  }
  return value as ClientId;
}

/** Accepts only the 43 characters of a SHA-256 thumbprint, so that a kid can never be a path or query. */
export function parseKid(value: unknown, field = 'kid'): Kid {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(value)) {
    throw new FormatError(field, 'must be an RFC 7638 thumbprint (43 base64url characters)');
  }
  return value as Kid;
}

const RESOURCE_MAX_LENGTH = 255;

export function parseResourceId(value: unknown, field = 'resource'): ResourceId {
  const fits =
    typeof value === 'string' &&
    value.length <= RESOURCE_MAX_LENGTH &&
    /^[a-z][a-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]+$/i.test(value) &&
    !value.includes('#') &&
    URL.canParse(value);
  if (!fits) {
    throw new FormatError(
      field,
      'must be an absolute URI without fragment, at most 255 characters',
    );
  }
  return value as ResourceId;
}

/** Whether a URL's host can only mean this machine (RFC 6761 6.3, RFC 1122 3.2.1.3, RFC 4291 2.5.3). */
export function isLoopbackHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host);
}

export function parseIssuer(value: unknown, field = 'issuer'): Issuer {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const isPlain =
    url !== undefined &&
    typeof value === 'string' &&
    value.length <= RESOURCE_MAX_LENGTH &&
    !/[?#\s]/.test(value) &&
    !value.endsWith('/') &&
    url.username === '' &&
    url.password === '' &&
    (value === url.origin || value === url.origin + url.pathname);
  if (!isPlain) {
    throw new FormatError(
      field,
      'must be a URL such as https://id.example, lower case, without query, fragment or trailing slash',
    );
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackHost(url.hostname))) {
    throw new FormatError(field, 'must use https (http is for loopback only)');
  }
  return value as Issuer;
}

/** Name of a role. */
export type RoleName = Branded<'RoleName'>;
/** Name of a permission: an alias of topic scopes, or a plain scope of an HTTP resource. */
export type PermissionName = Branded<'PermissionName'>;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;
const NAME_PROBLEM =
  'must be 1 to 64 characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit';

export function parseRoleName(value: unknown, field = 'role'): RoleName {
  if (typeof value !== 'string' || !NAME.test(value)) throw new FormatError(field, NAME_PROBLEM);
  return value as RoleName;
}

/** A name that could be read as a topic scope is refused, or a request could mean two things. */
export function parsePermissionName(value: unknown, field = 'permission'): PermissionName {
  if (typeof value !== 'string' || !NAME.test(value)) throw new FormatError(field, NAME_PROBLEM);
  if (/^(pub|sub|pubsub)(:|$)/i.test(value)) {
    throw new FormatError(
      field,
      'must not be or begin with pub, sub or pubsub as a topic scope does',
    );
  }
  return value as PermissionName;
}

/** Label of a client; templates use it as `{labels.key}`. */
export interface Label {
  readonly key: string;
  readonly value: string;
}

export const LABEL_KEY: RegExp = /^[a-z][a-z0-9_-]{0,31}$/;

/**
 * Whether a text may be put into a topic level by a template: 1 to 128 characters, none of
 * `/ + # $`, no control or non-characters, no lone surrogates, no U+FFFD.
 */
export function isTemplateValue(value: string): boolean {
  return (
    value.length >= 1 &&
    value.length <= 128 &&
    !/[/+#$\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFEFF\uFFFD]/u.test(value)
  );
}

export function parseLabel(key: unknown, value: unknown, field = 'label'): Label {
  if (typeof key !== 'string' || !LABEL_KEY.test(key)) {
    throw new FormatError(
      field,
      'key must be 1 to 32 characters of a-z 0-9 _ - and begin with a letter',
    );
  }
  if (typeof value !== 'string' || !isTemplateValue(value)) {
    throw new FormatError(
      `${field}.${key}`,
      'must be 1 to 128 characters without / + # $ and without control characters',
    );
  }
  return { key, value };
}
