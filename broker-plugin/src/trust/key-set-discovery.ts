/**
 * Finds the key set of another authorization server through its metadata.
 *
 * Units   none.
 * Errors  `UnreachableError`.
 * Source  RFC 8414 3 (also for OpenID Connect Discovery 4, whose well-known path stands at the end).
 *
 * @module
 */
import {
  type HttpClient,
  type HttpResponse,
  type Issuer,
  metadataUrl,
  UnreachableError,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { LocateKeySet } from './jwks.js';

const metadataSchema = v.object({ issuer: v.string(), jwks_uri: v.pipe(v.string(), v.url()) });

/** Where an issuer's metadata can be; a slash at its end does not count here (RFC 8414 3.1). */
function metadataUrls(issuer: string): readonly string[] {
  const base = issuer.replace(/\/$/, '');
  return [metadataUrl(base as Issuer), `${base}/.well-known/openid-configuration`];
}

/** What the metadata say, or what is wrong with them. */
function readMetadata(
  { status, body }: HttpResponse,
  issuer: string,
): { readonly uri: string } | { readonly problem: string } {
  if (status !== 200) return { problem: `answered ${status}` };
  let metadata: v.InferOutput<typeof metadataSchema>;
  try {
    metadata = v.parse(metadataSchema, JSON.parse(body));
  } catch {
    return { problem: 'is not metadata' };
  }
  const { issuer: named, jwks_uri: uri } = metadata;
  if (named !== issuer) return { problem: 'names another issuer' };
  // Only an issuer on this machine may have its keys fetched in clear text.
  if (issuer.startsWith('https:') && !uri.startsWith('https:')) {
    return { problem: 'has a jwks_uri that is not https' };
  }
  return { uri };
}

export function createKeySetDiscovery(http: HttpClient, issuer: string): LocateKeySet {
  return async (signal) => {
    const problems: string[] = [];
    for (const url of metadataUrls(issuer)) {
      const response = await http.request({ method: 'GET', url, ...(signal && { signal }) });
      const found = readMetadata(response, issuer);
      if ('uri' in found) return found.uri;
      problems.push(`${url} ${found.problem}`);
    }
    throw new UnreachableError(problems.join('; '));
  };
}
