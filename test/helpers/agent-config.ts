/**
 * The smallest configuration of an agent that publishes: this machine's load, every second.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import type { LiveStack } from './live-stack.ts';

export function writeAgentConfig(stack: LiveStack, stateDir: string, topic: string): string {
  const file = `${stateDir}.toml`;
  writeFileSync(
    file,
    `state_dir = "${stateDir}"
log_level = "debug"

[broker]
url = "${stack.resource}"

[[source]]
name = "load"
file = "/proc/loadavg"
every_seconds = 1
topic = "${topic}"
`,
  );
  return file;
}
