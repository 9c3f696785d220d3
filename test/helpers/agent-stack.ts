/**
 * A real authority and a real broker as processes, and enrolled devices whose agents are processes too.
 * Ready in a moment: the registry is filled before the authority starts.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { enroll } from '@latchkey/agent/daemon';
import { initDataDir, loadConfig, openDataDir } from '@latchkey/authority';
import {
  createHttpClient,
  createKeySigner,
  discover,
  generateKey,
  hashEnrollmentCode,
  type Issuer,
  newEnrollmentCode,
  type PrivateKey,
  parseClientId,
  parseIssuer,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  type ResourceId,
  requestToken,
  systemClock,
} from '@latchkey/shared';
import { type AgentSocket, openAgentSocket } from './agent-socket.ts';
import { connectPacket, overTcp, subscribePacket } from './mqtt-wire.ts';
import {
  freePort,
  type ProgramOptions,
  type Running,
  startProgram,
  temporaryDir,
} from './processes.ts';

export interface AgentOptions extends ProgramOptions {
  /** In place of the broker's own. */
  readonly brokerUrl?: string;
  /** Further TOML lines of `[broker]`, and whatever tables follow. */
  readonly config?: string;
}

export interface StackDevice {
  readonly stateDir: string;
  readonly socket: AgentSocket;
  /** Starts `latchkey-agent run`. */
  start(options?: AgentOptions): Running;
}

export interface AgentStack {
  readonly dir: string;
  readonly resource: ResourceId;
  readonly brokerPort: number;
  /** Those that were started last. */
  readonly authority: Running;
  readonly broker: Running;
  startAuthority(): Promise<Running>;
  startBroker(): Promise<Running>;
  /** A device that may publish to `devices/ID/telemetry/#`; `stateDir`: default a folder of `dir`. */
  enroll(id: string, stateDir?: string): Promise<StackDevice>;
  /** Hears all telemetry over a connection of its own, until the broker ends. */
  listen(onPublish: (topic: string, payload: string) => void): Promise<void>;
}

export interface AgentStackOptions {
  /** Further TOML of the broker, such as another listener. */
  readonly brokerConfig?: string;
  /** Who is asked in place of the authority, given its port: the port of a proxy. */
  readonly proxy?: (authorityPort: number) => Promise<number>;
}

const LISTENER = parseClientId('listener');
const THERMOSTAT = parseRoleName('thermostat');
const TOKEN_TTL_SECONDS = 900;

/** Returns a code that enrolls any number of thermostats. */
async function fillAuthority(
  dataDir: string,
  issuer: Issuer,
  resource: ResourceId,
  listener: PrivateKey,
): Promise<string> {
  const clock = systemClock;
  await initDataDir({ dataDir, issuer, clock });
  const { registry } = await openDataDir({ dataDir, config: loadConfig(dataDir), clock });
  await registry.createResource({
    ...{ identifier: resource, kind: 'mqtt', tokenTtlSeconds: TOKEN_TTL_SECONDS },
  });
  const roles = [
    { role: 'thermostat', scope: 'pub:devices/{client_id}/telemetry/#' },
    { role: 'listener', scope: 'sub:devices/+/telemetry/#' },
  ];
  for (const { role, scope } of roles) {
    const name = parsePermissionName(role);
    await registry.createPermission({ name, resource, scopes: [scope] });
    await registry.createRole({ name: parseRoleName(role), permissions: [name] });
  }
  await registry.createClient({
    ...{ id: LISTENER, kind: 'device', roles: [parseRoleName('listener')], labels: new Map() },
    key: listener.publicKey,
  });
  const code = newEnrollmentCode();
  await registry.createEnrollment({
    codeHash: hashEnrollmentCode(code),
    target: { idPattern: '*' },
    ...{ roles: [THERMOSTAT], labels: new Map(), uses: 1000 },
    expiresAt: clock.now() + 3600,
  });
  await registry.close();
  return code;
}

export async function startAgentStack(options: AgentStackOptions = {}): Promise<AgentStack> {
  const { brokerConfig = '', proxy = async (port) => port } = options;
  const dir = temporaryDir();
  const [authorityPort, brokerPort] = [await freePort(), await freePort()];
  const issuer = parseIssuer(`http://localhost:${await proxy(authorityPort)}`);
  const resource = parseResourceId(`mqtt://localhost:${brokerPort}`);
  const authorityDir = join(dir, 'authority');
  const listener = generateKey();
  const code = await fillAuthority(authorityDir, issuer, resource, listener);
  const http = createHttpClient();
  const clock = systemClock;

  const startAuthority = async (): Promise<Running> => {
    const listen = `127.0.0.1:${authorityPort}`;
    const running = startProgram('latchkey', [
      ...['serve', '--data-dir', authorityDir, '--listen', listen],
    ]);
    await running.event('authority.listening');
    return running;
  };
  const brokerFile = join(dir, 'broker.toml');
  writeFileSync(
    brokerFile,
    `issuer = "${issuer}"\naudience = "${resource}"\n${brokerConfig}\n` +
      `[[listen]]\ntype = "tcp"\nhost = "127.0.0.1"\nport = ${brokerPort}\n`,
  );
  const startBroker = async (): Promise<Running> => {
    const running = startProgram('latchkey-broker', ['--config', brokerFile]);
    await running.event('broker.listening');
    return running;
  };
  let authority = await startAuthority();
  let broker = await startBroker();

  return {
    dir,
    resource,
    brokerPort,
    get authority() {
      return authority;
    },
    get broker() {
      return broker;
    },
    startAuthority: async () => {
      authority = await startAuthority();
      return authority;
    },
    startBroker: async () => {
      broker = await startBroker();
      return broker;
    },
    enroll: async (id, stateDir = join(dir, id)) => {
      const clientId = parseClientId(id);
      await enroll({ stateDir, issuer, clientId, readCode: async () => code }, { http, clock });
      return {
        stateDir,
        socket: openAgentSocket(join(stateDir, 'agent.sock')),
        start: ({ brokerUrl = resource, config = '', ...program } = {}) => {
          const file = join(dir, `${id}.toml`);
          writeFileSync(
            file,
            `state_dir = "${stateDir}"\n[broker]\nurl = "${brokerUrl}"\nresource = "${resource}"\n${config}`,
          );
          return startProgram('latchkey-agent', ['run', '--config', file], program);
        },
      };
    },
    listen: async (onPublish) => {
      const metadata = await discover(http, issuer);
      const { accessToken } = await requestToken({
        ...{ http, metadata, issuer, clientId: LISTENER, resource, now: clock.now() },
        signer: createKeySigner(listener),
      });
      const client = await overTcp(brokerPort);
      const id = { clientId: LISTENER, username: LISTENER, keepalive: 300 };
      client.send(connectPacket(accessToken, id));
      const { returnCode } = await client.next('connack');
      if (returnCode !== 0) throw new Error(`the broker answered the listener with ${returnCode}`);
      client.onPacket((packet) => {
        if (packet.cmd !== 'publish') return;
        onPublish(packet.topic, packet.payload.toString());
        client.send({ cmd: 'puback', messageId: packet.messageId as number });
      });
      client.send(subscribePacket({ 'devices/+/telemetry/#': 1 }));
      await client.next('suback');
    },
  };
}
