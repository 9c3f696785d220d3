/**
 * An enrolled agent in this process, with a driven clock, a small authority and a plain Aedes.
 *
 * @module
 */
import { join } from 'node:path';
import { type Agent, createAgent, enroll, parseAgentConfig } from '@latchkey/agent/daemon';
import { createHttpClient, parseClientId } from '@latchkey/shared';
import { onTestFinished } from 'vitest';
import { type AedesBroker, startAedesBroker } from './aedes-broker.ts';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import { temporaryDir } from './processes.ts';
import { startTokenServer, type TokenServer } from './token-server.ts';

export const CLIENT_ID = parseClientId('t-42');

export interface AgentSetup {
  readonly clock: DrivenClock;
  readonly logger: CapturedLog;
  readonly authority: TokenServer;
  readonly broker: AedesBroker;
  readonly dir: string;
  readonly stateDir: string;
  /** Makes an agent on the same state folder; `config` are further TOML lines, from `[broker]` on. */
  createAgent(config?: string): Agent;
  /** Starts one and waits until it is online. Ends with the test. */
  startAgent(config?: string): Promise<Agent & { stop(): Promise<string> }>;
}

/** Enrolls `t-42` in a fresh folder. */
export async function setUpAgent(
  options: {
    /** Default: the middle of every range that is drawn from. */
    readonly random?: () => number;
  } = {},
): Promise<AgentSetup> {
  const clock = createDrivenClock();
  const logger = createCapturedLog();
  const authority = await startTokenServer(clock);
  const broker = await startAedesBroker();
  const dir = temporaryDir();
  const stateDir = join(dir, 'state');
  const http = createHttpClient();
  const { issuer, code } = authority;
  await enroll(
    { stateDir, issuer, clientId: CLIENT_ID, readCode: async () => code },
    { http, clock },
  );
  const create = (config = ''): Agent => {
    const url = /^urls? = /m.test(config) ? '' : `url = "${broker.url}"\n`;
    const toml = `state_dir = "state"\n[broker]\n${url}${config}`;
    const { PATH = '' } = process.env;
    return createAgent(parseAgentConfig(toml, join(dir, 'agent.toml')), {
      clock,
      logger,
      http,
      random: options.random ?? (() => 0.5),
      environment: { PATH },
    });
  };
  return {
    clock,
    logger,
    authority,
    broker,
    dir,
    stateDir,
    createAgent: create,
    startAgent: async (config) => {
      const agent = create(config);
      const ending = new AbortController();
      const after = logger.lines.length;
      const end = agent.run(ending.signal);
      const stop = (): Promise<string> => {
        ending.abort();
        return end;
      };
      onTestFinished(async () => {
        await stop();
      });
      await Promise.race([logger.event('agent.state', { state: 'online' }, after), end]);
      return { ...agent, stop };
    },
  };
}
