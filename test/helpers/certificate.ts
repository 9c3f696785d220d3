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

/** Another one, with another key; `days`: how long it is valid. */
export function newSelfSigned(days = 2): Certificate {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-cert-'));
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const names = ['-subj', '/CN=localhost', '-days', String(days), '-nodes', '-newkey', 'rsa:2048'];
  execFileSync('openssl', ['req', '-x509', ...names, '-keyout', keyFile, '-out', certFile], {
    stdio: 'ignore',
  });
  const made = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
  rmSync(dir, { recursive: true });
  return made;
}
