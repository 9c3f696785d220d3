/** I1: no credential in a log, an error, an argument or the environment of any process; no file for others. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeAgentConfig } from '../helpers/agent-config.ts';
import { startLiveStack } from '../helpers/live-stack.ts';
import { runCommand, runProgram, startProgram } from '../helpers/processes.ts';

/** A JWT, an enrollment code or a private key, wherever it stands. */
const SECRET = /eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+|lke_[\w-]{22}|PRIVATE KEY|"d":/;

function filesBelow(dir: string): readonly string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

test('programs at work, allowed and refused, show no secret and keep their files to themselves', async () => {
  const stack = await startLiveStack();
  const stateDir = await stack.enroll('t-42');
  const token = await stack.token(stateDir);
  const config = writeAgentConfig(stack, stateDir, 'devices/t-42/telemetry/load');
  const agent = startProgram('latchkey-agent', ['run', '--config', config]);
  await agent.event('agent.state', ({ state }) => state === 'online');
  await stack.broker.event('publish.allowed');

  // Everything that can be refused is refused once: token, assertion, code, publication.
  const login = ['-h', '127.0.0.1', '-p', `${stack.brokerPort}`, '-i', 'x', '-u', 'x'];
  await runCommand('mosquitto_pub', [...login, '-P', token, '-t', 'a', '-m', 'b']);
  await stack.broker.event('connect.refused');
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: token,
  });
  await fetch(`${stack.issuer}/token`, { method: 'POST', body: form });
  await stack.authority.event('token.refused');
  const refusedCode = await runProgram(
    'latchkey-agent',
    [
      ...['enroll', '--authority', stack.issuer, '--client-id', 't-43'],
      ...['--code-file', '-', '--state-dir', join(stack.dir, 't-43')],
    ],
    { input: 'lke_AAAAAAAAAAAAAAAAAAAAAA\n' },
  );
  expect(refusedCode.exitCode).toBe(1);
  const foreign = await runProgram('latchkey-agent', [
    ...['publish', 'devices/t-1/telemetry/x', '--state-dir', stateDir, '--message', '1'],
  ]);
  expect(foreign.exitCode).toBe(1);

  const processes = [stack.authority, stack.broker, agent];
  for (const { child, lines } of processes) {
    expect(lines.join('\n')).not.toMatch(SECRET);
    for (const file of ['cmdline', 'environ']) {
      expect(readFileSync(`/proc/${child.pid}/${file}`, 'latin1')).not.toMatch(SECRET);
    }
  }
  for (const { stdout, stderr } of [refusedCode, foreign])
    expect(stdout + stderr).not.toMatch(SECRET);

  const isSecret = (file: string) => SECRET.test(readFileSync(file, 'latin1'));
  const files = [join(stack.dir, 'authority'), stateDir].flatMap(filesBelow);
  const secrets = files.filter((file) => statSync(file).isFile() && isSecret(file));
  expect(secrets.length).toBeGreaterThanOrEqual(4); // both keys, the signing key, the token cache
  for (const file of secrets)
    expect(`${file} ${(statSync(file).mode & 0o777).toString(8)}`).toBe(`${file} 600`);
});
