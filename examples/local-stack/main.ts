/**
 * The local stack: what `npm start` runs. Each part is a process of its own, started through its own
 * command-line program; this one only starts them, tells what they log, and ends them.
 *
 * Units   seconds.
 * Errors  a line that says what to do; exit code 1 when the stack failed, 2 for wrong use.
 * Source  README "Try it".
 *
 * @module
 */
import { createServer } from 'node:net';
import { describeFailure, EXIT, systemClock, UsageError } from '@latchkey/shared';
import { createNarrator, type Narrator } from './narrator.js';
import { parseOptions, type StackOptions } from './options.js';
import type { LogLine, RunningProgram } from './programs.js';
import { initAuthority, provisionFleet } from './provision.js';
import { chooseReading, type Reading } from './readings.js';
import { refusedByAgent, refusedByBroker } from './refusal.js';
import {
  AIR_CONDITIONER,
  openSettings,
  type Settings,
  THERMOSTAT,
  TOPICS,
  writeConfigs,
} from './settings.js';
import { createStage, MILESTONES, type Milestone, type Stage } from './stage.js';

async function requireFreePort(port: number, option: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', () =>
      reject(new UsageError(`port ${port} is taken; choose another with ${option}`)),
    );
    server.listen({ port, host: '127.0.0.1' }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

const isOnline = ({ event, state }: LogLine): boolean =>
  event === 'agent.state' && state === 'online';

async function startAll(
  stage: Stage,
  settings: Settings,
  narrator: Narrator,
  reading: Reading,
): Promise<void> {
  const announce = (name: string, { pid }: RunningProgram, where: string) =>
    narrator.say(`started ${name.padEnd(16)} pid ${String(pid).padEnd(8)} ${where}`);
  await initAuthority(settings);
  const serve = ['serve', '--data-dir', settings.authorityDir];
  const authority = await stage.launch(
    'authority',
    'latchkey',
    [...serve, '--listen', new URL(settings.issuer).host.replace('localhost', '127.0.0.1')],
    ({ event }) => event === 'authority.listening',
  );
  announce('authority', authority, settings.issuer);
  await provisionFleet(settings, (command) => narrator.say(`operator: ${command}`));
  const broker = await stage.launch(
    'broker',
    'latchkey-broker',
    ['--config', settings.brokerConfig],
    ({ event }) => event === 'broker.listening',
  );
  announce('broker', broker, settings.resource);
  for (const [device, does] of [
    [AIR_CONDITIONER, `obeys ${TOPICS.power}`],
    [THERMOSTAT, `reads ${reading.description}`],
  ] as const) {
    const args = ['run', '--config', settings.agentConfig(device)];
    announce(device, await stage.launch(device, 'latchkey-agent', args, isOnline), does);
  }
}

/** The air conditioner tries to publish as the thermostat, on purpose. */
async function showRefusal(stage: Stage, settings: Settings, narrator: Narrator): Promise<void> {
  narrator.say(`\nOn purpose, the air conditioner now publishes ${TOPICS.temperature}:`);
  narrator.say(await refusedByAgent(settings));
  narrator.say('and a program that has its token, past the agent:');
  const isBack = stage.nextLine(AIR_CONDITIONER, isOnline);
  isBack.catch(() => undefined); // awaited below, unless this fails first
  await refusedByBroker(settings);
  await stage.untilReached('refusal');
  await isBack;
  narrator.say('');
}

function nextCommands({ authorityDir, stateDir }: Settings): string {
  return `Next, in another terminal:
  npx latchkey --data-dir ${authorityDir} device list
  npx latchkey-agent status --state-dir ${stateDir(THERMOSTAT)}
  npx latchkey-agent publish ${TOPICS.state} --message hello --state-dir ${stateDir(AIR_CONDITIONER)}
Ctrl-C ends everything; the next start goes on with the same keys.
`;
}

async function runStack(options: StackOptions, signal: AbortSignal): Promise<number> {
  const narrator = createNarrator(
    process.stdout,
    process.stdout.isTTY && process.stdout.hasColors(),
  );
  await requireFreePort(options.authorityPort, '--authority-port');
  await requireFreePort(options.brokerPort, '--broker-port');
  const settings = openSettings(options);
  const reading = chooseReading(options);
  writeConfigs(settings, options, reading);
  narrator.say(`Latchkey local stack, state in ${settings.dataDir}`);
  const stage = createStage(narrator, signal);
  const startedAt = systemClock.now();
  try {
    await startAll(stage, settings, narrator, reading);
    await stage.untilReached('state');
    await showRefusal(stage, settings, narrator);
    narrator.say(nextCommands(settings));
    const endAt = startedAt + (options.forSeconds ?? Number.POSITIVE_INFINITY);
    await Promise.race([
      systemClock.sleep((endAt - systemClock.now()) * 1000, signal),
      stage.failure,
    ]);
    const missing = (Object.keys(MILESTONES) as Milestone[]).filter(
      (key) => !stage.reached.has(key),
    );
    for (const key of missing) narrator.say(`missing: ${MILESTONES[key]}`);
    narrator.say(
      missing.length === 0 ? 'messages flowed and the refusal was refused' : 'the stack failed',
    );
    return missing.length === 0 ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (!signal.aborted) throw error;
    narrator.say('\nstopping');
    return EXIT.ok;
  } finally {
    await stage.stopAll();
  }
}

const stopping = new AbortController();
process.on('SIGINT', () => stopping.abort());
process.on('SIGTERM', () => stopping.abort());
// Whoever read what we print is gone (`npm start | head`).
process.stdout.on('error', () => stopping.abort());
try {
  process.exitCode = await runStack(parseOptions(process.argv.slice(2)), stopping.signal);
} catch (error) {
  const { text, exitCode } = describeFailure(error);
  process.stderr.write(`error: ${text}\n`);
  process.exitCode = exitCode;
}
