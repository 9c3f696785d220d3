/** What systemd is told, by a real process over a real datagram socket, and that its unit fits. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAgentConfig } from '@latchkey/agent/daemon';
import { expect, test } from 'vitest';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { enrollDevice } from '../helpers/enrolled-device.ts';
import { startNotifySocket } from '../helpers/notify-socket.ts';
import { freePort, ROOT, runCommand, startProgram, temporaryDir } from '../helpers/processes.ts';

async function setUp(brokerUrl: string) {
  const { dir, stateDir, config } = await enrollDevice();
  writeFileSync(config, `state_dir = "state"\n[broker]\nurl = "${brokerUrl}"\n`);
  const start = (environment: Record<string, string>) =>
    startProgram('latchkey-agent', ['run', '--config', config], { environment });
  return { dir, config, stateDir, start };
}

test.each([{ isAbstract: false }, { isAbstract: true }])(
  'ready when online, alive, stopping; abstract address: $isAbstract',
  async (options) => {
    const socket = await startNotifySocket(options);
    const broker = await startAedesBroker();
    const { start } = await setUp(broker.url);
    const agent = start({ NOTIFY_SOCKET: socket.address, WATCHDOG_USEC: '400000' });
    expect(await socket.message(({ READY }) => READY === '1')).toMatchObject({ STATUS: 'online' });
    const before = socket.messages.length;
    await socket.message((one) => one.WATCHDOG === '1' && socket.messages.indexOf(one) >= before);
    expect(await agent.stop()).toBe(0);
    const [stopping, ...after] = socket.messages.slice(
      socket.messages.findIndex(({ STOPPING }) => STOPPING === '1'),
    );
    expect(stopping).toMatchObject({ STOPPING: '1' });
    expect(after).toEqual([]); // nothing makes it look alive again
    expect(socket.messages.filter(({ READY }) => READY === '1').length).toBe(1);
  },
);

test('ready when safely offline, and says so in words', async () => {
  const socket = await startNotifySocket();
  const { start } = await setUp(`mqtt://127.0.0.1:${await freePort()}`);
  start({ NOTIFY_SOCKET: socket.address });
  const { STATUS } = await socket.message(({ READY }) => READY === '1');
  expect(STATUS).toMatch(/^backing-off: cannot reach the broker.*next try in \d+ s$/);
  expect(socket.messages.some((one) => 'WATCHDOG' in one)).toBe(false); // none was asked for
});

test('no sign of life for another process', async () => {
  const socket = await startNotifySocket();
  const broker = await startAedesBroker();
  const { start } = await setUp(broker.url);
  const env = { NOTIFY_SOCKET: socket.address, WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' };
  const agent = start(env);
  await socket.message(({ READY }) => READY === '1');
  await agent.stop();
  expect(socket.messages.some((one) => 'WATCHDOG' in one)).toBe(false);
});

test('without systemd-notify it works all the same, and says once that nobody is told', async () => {
  const broker = await startAedesBroker();
  const { start } = await setUp(broker.url);
  const env = { NOTIFY_SOCKET: '/nowhere/notify', WATCHDOG_USEC: '40000', PATH: '/nowhere' };
  const agent = start(env);
  await agent.event('service.not-told');
  await agent.event('agent.state', ({ state }) => state === 'online');
  expect(await agent.stop()).toBe(0);
  expect(agent.lines.filter((line) => line.includes('service.not-told')).length).toBe(1);
});

test('in the journal each line of the log has its priority, and errors too', async () => {
  const { dir, config, stateDir } = await setUp('mqtt://127.0.0.1:1');
  const program = join(ROOT, 'agent/bin/latchkey-agent.js');
  const run = (journal: string) =>
    runCommand(
      'bash',
      [
        '-c',
        `touch log; export JOURNAL_STREAM=${journal}
         "$0" ${program} run --config ${config} >>log 2>&1 & pid=$!
         until grep -q backing-off log; do sleep 0.05; done
         "$0" ${program} run --config ${config} 2>>log; kill $pid; wait $pid; echo end $?`,
        process.execPath,
      ],
      { cwd: dir },
    );
  expect((await run('$(stat -c %d:%i log)')).stdout).toBe('end 0\n');
  const lines = readFileSync(join(dir, 'log'), 'utf8').trim().split('\n');
  const levels = lines.map((line) => /^<(\d)>/.exec(line)?.[1]);
  expect(new Set(levels)).toEqual(new Set(['3', '4', '6'])); // error, warning, info
  expect(lines.find((line) => line.startsWith('<3>'))).toMatch(
    `<3>latchkey-agent: another agent runs on ${stateDir}`,
  );
  for (const line of lines.filter((one) => !one.startsWith('<3>')))
    expect(JSON.parse(line.slice(3))).toMatchObject({ event: expect.any(String) });

  writeFileSync(join(dir, 'log'), '');
  await run('1:1'); // a journal that these streams do not go to
  expect(readFileSync(join(dir, 'log'), 'utf8')).not.toMatch(/^</m);
});

const UNIT = join(ROOT, 'agent/systemd/latchkey-agent.service');
const EXAMPLE = join(ROOT, 'agent/agent.example.toml');
const settings = readFileSync(UNIT, 'utf8')
  .split('\n')
  .filter((line) => /^[A-Z][A-Za-z]*=/.test(line))
  .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
const all = (name: string) => settings.filter(([one]) => one === name).map(([, value]) => value);

test('the unit runs a command of the program, with the configuration that its help names', async () => {
  expect(all('ExecStart')).toEqual([
    '/usr/bin/latchkey-agent run --config /etc/latchkey/agent.toml',
  ]);
  const { stdout } = await runAgentCli(['run', '--help']);
  expect(stdout).toContain('latchkey-agent run --config /etc/latchkey/agent.toml');
});

test('what the agent writes by the example is in the one directory that it may write', () => {
  const config = parseAgentConfig(readFileSync(EXAMPLE, 'utf8'), EXAMPLE);
  expect(config.stateDir).toBe(`/var/lib/${all('StateDirectory')[0]}`);
  expect(all('ReadWritePaths')).toEqual([]);
  expect(Number(all('TimeoutStopSec')[0])).toBeGreaterThanOrEqual(2 * config.outbox.flushSeconds);
});

test.each([
  ['Type', 'notify'],
  ['NotifyAccess', 'all'],
  ['Restart', 'always'],
  ['User', 'latchkey-agent'],
  ['StateDirectoryMode', '0710'],
  ['NoNewPrivileges', 'yes'],
  ['CapabilityBoundingSet', ''],
  ['ProtectSystem', 'strict'],
  ['ProtectHome', 'yes'],
  ['PrivateTmp', 'yes'],
  ['PrivateDevices', 'yes'],
  ['RestrictNamespaces', 'yes'],
  ['UMask', '0077'],
])('%s=%s', (name, value) => {
  expect(all(name)).toEqual([value]);
});

test.runIf(existsSync('/usr/bin/systemd-analyze'))(
  'systemd itself finds nothing wrong with the unit, and little that is exposed',
  async () => {
    const dir = temporaryDir();
    const unit = join(dir, 'latchkey-agent.service');
    // It looks for the program, which is not installed here.
    const text = readFileSync(UNIT, 'utf8').replace('/usr/bin/latchkey-agent', process.execPath);
    writeFileSync(unit, text);
    const { exitCode, stderr } = await runCommand('systemd-analyze', ['verify', unit]);
    const complaints = stderr
      .split('\n')
      .filter((line) => line.includes('latchkey-agent'))
      .filter((line) => !/Unknown key '?(RestartSteps|RestartMaxDelaySec)/.test(line)); // before 254
    expect([exitCode, complaints]).toEqual([0, []]);
    const security = ['security', '--offline=yes', '--threshold=20', unit];
    expect((await runCommand('systemd-analyze', security)).exitCode).toBe(0); // exposure up to 2.0
  },
);
