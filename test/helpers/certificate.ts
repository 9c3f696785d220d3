/**
 * A self-signed certificate of `localhost`.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Certificate {
  readonly key: string;
  readonly cert: string;
}
let certificate: Certificate | undefined;

/** A self-signed certificate, made once for each run of a test file. */
export function selfSigned(): Certificate {
  certificate ??= newSelfSigned();
  return certificate;
}

/** Another one, with another key; `days`: how long it is valid, negative when that is over. */
export function newSelfSigned(days = 2): Certificate {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-cert-'));
  const [keyFile, requestFile, certFile] = ['key.pem', 'request.pem', 'cert.pem'].map((name) =>
    join(dir, name),
  ) as [string, string, string];
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  const fresh = ['-subj', '/CN=localhost', '-nodes', '-newkey', 'rsa:2048', '-keyout', keyFile];
  if (days >= 0) openssl('req', '-x509', '-days', String(days), ...fresh, '-out', certFile);
  else {
    openssl('req', '-new', ...fresh, '-out', requestFile);
    const validity = ['-signkey', keyFile, '-days', String(days)];
    openssl('x509', '-req', '-in', requestFile, ...validity, '-out', certFile);
  }
  const made = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
  rmSync(dir, { recursive: true });
  return made;
}
