/**
 * `latchkey token inspect`: what a token says, what it allows, and why it would be refused.
 *
 * The token comes from stdin or a file and never from the command line, where others could see it; it
 * is not printed again.
 *
 * Units   NumericDate.
 * Errors  `FormatError` for what is no token; exit code 1 for a token that would be refused.
 * Source  RFC 9068 2; DESIGN 9 (I1).
 *
 * @module
 */
import {
  EXIT,
  type ExitCode,
  FormatError,
  formatInstant,
  parseIssuer,
  parseScope,
} from '@latchkey/shared';
import { loadConfig } from '../../open-authority.js';
import { readInput } from '../input.js';
import { type Io, printJson, printLine } from '../io.js';
import type { ManagementOptions } from '../management-client.js';
import { type DecodedToken, decodeToken } from './decode.js';
import { judgeToken, type Verdict } from './verdict.js';

export interface InspectOptions extends ManagementOptions {
  /** Default: stdin. */
  readonly file?: string;
  readonly json?: boolean;
}

const HIDDEN_CLAIMS = new Set(['iss', 'sub', 'client_id', 'aud', 'iat', 'exp', 'jti', 'scope']);

/** An instant and how far it is from now. */
function describeInstant(value: unknown, now: number): string {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return '-';
  const seconds = value - now;
  return `${formatInstant(value)} (${seconds >= 0 ? `in ${seconds} s` : `${-seconds} s ago`})`;
}

/** Each right on a line of its own. */
function describeScope(scope: unknown): string {
  try {
    const { topicScopes, plainScopes } = parseScope(scope ?? '');
    const rights = [
      ...topicScopes.map(({ action, filter, maxQos, isRetainAllowed }) => {
        const limits = [
          ...(maxQos < 2 ? [`QoS ${maxQos} at most`] : []),
          ...(isRetainAllowed || action === 'sub' ? [] : ['not retained']),
        ];
        return `${action} ${filter}${limits.length > 0 ? ` (${limits.join(', ')})` : ''}`;
      }),
      ...plainScopes,
    ];
    return rights.length === 0 ? 'to connect, and nothing else' : rights.join('\n');
  } catch (error) {
    if (error instanceof FormatError) return `nothing: ${error.message}`;
    throw error;
  }
}

function describeVerdict({ isValid, reason }: Verdict): string {
  if (isValid) return 'valid';
  return reason === 'not-checked' ? 'not checked' : `refused (${reason})`;
}

/** A token may be anybody's, so what it says must not reach the terminal as commands. */
const printable = (text: string): string => text.replaceAll(/[^\P{C}\n]/gu, '?');

function describe({ header, claims }: DecodedToken, verdict: Verdict, now: number): string {
  const others = Object.keys(claims).filter((name) => !HIDDEN_CLAIMS.has(name));
  const lines: readonly (readonly [string, string])[] = [
    ['verdict', describeVerdict(verdict)],
    ['', verdict.detail],
    ['issuer', String(claims.iss ?? '-')],
    ['client', String(claims.client_id ?? claims.sub ?? '-')],
    ['resource', [claims.aud ?? '-'].flat().join(' ')],
    ['issued', describeInstant(claims.iat, now)],
    ['expires', describeInstant(claims.exp, now)],
    ['allows', describeScope(claims.scope)],
    ['token id', String(claims.jti ?? '-')],
    ['key', `${header.kid ?? '-'} (${header.alg ?? '-'}, ${header.typ ?? 'no type'})`],
    ['also holds', others.join(' ') || '-'],
  ];
  const width = Math.max(...lines.map(([heading]) => heading.length));
  return lines
    .map(([heading, text]) => {
      const indented = printable(text).replaceAll('\n', `\n${' '.repeat(width + 2)}`);
      return `${heading.padEnd(width)}  ${indented}`;
    })
    .join('\n');
}

function chooseAuthority({ authority, dataDir }: InspectOptions) {
  if (authority !== undefined) return parseIssuer(authority, '--authority');
  return dataDir === undefined ? undefined : loadConfig(dataDir).issuer;
}

export async function inspectToken(options: InspectOptions, io: Io): Promise<ExitCode> {
  const { file = '-', json = false } = options;
  const text = (await readInput(file, '--file', io)).trim();
  const token = decodeToken(text);
  const verdict = await judgeToken(text, token, chooseAuthority(options), io);
  const { isValid, reason, detail } = verdict;
  if (json) printJson(io, { valid: isValid, reason, detail, ...token });
  else printLine(io, describe(token, verdict, io.clock.now()));
  return isValid || reason === 'not-checked' ? EXIT.ok : EXIT.failed;
}
