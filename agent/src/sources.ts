/**
 * Sources: reads a value again and again, publishes it, and publishes when it passes a limit.
 *
 * Units   seconds, sizes in bytes; `at` in the payload is a NumericDate.
 * Errors  none leave: a failed or dropped reading is counted and logged, and the next one follows.
 * Source  DESIGN 1 (one file of config).
 *
 * @module
 */
import { open } from 'node:fs/promises';
import type { Clock, Logger } from '@latchkey/shared';
import { runCommand } from './child-process.js';
import type { LimitConfig, SourceConfig } from './config.js';
import { OutboxFullError, PublishRefusedError } from './mqtt-errors.js';
import type { Publisher } from './publisher.js';
import { isAboveLimit, readNumber } from './reading.js';
import type { StateKeeper } from './state.js';

const MAX_INPUT_BYTES = 64 * 1024;

export interface SourceDeps {
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** First part of a file; files of sensors have no size, so it is read until its end or the bound. */
async function readStart(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(MAX_INPUT_BYTES),
      0,
      MAX_INPUT_BYTES,
    );
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Reads the value once; a text says why there is none. */
async function readValue(
  { input, scale }: SourceConfig,
  deps: SourceDeps,
  signal: AbortSignal,
): Promise<number | string> {
  let text: string;
  if (input.kind === 'file') {
    try {
      text = await readStart(input.path);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
      return `${input.path} cannot be read (${code})`;
    }
  } else {
    const { workingDir, environment, clock } = deps;
    const result = await runCommand({
      command: input.command,
      timeoutMs: input.timeoutSeconds * 1000,
      maxOutputBytes: MAX_INPUT_BYTES,
      workingDir,
      environment,
      clock,
      signal,
    });
    if (result.exitCode !== 0) {
      return `the command failed (${result.exitCode ?? result.end}) ${result.errorText}`.trim();
    }
    text = result.output.toString('utf8');
  }
  return readNumber(text, scale) ?? 'there is no number in the text';
}

/** Runs one source until the signal aborts. */
export async function runSource(
  source: SourceConfig,
  deps: SourceDeps,
  signal: AbortSignal,
): Promise<void> {
  const { publisher, state, clock, logger } = deps;
  const { name } = source;
  const wasAbove = new Map<LimitConfig, boolean>();

  /** Whether the message was taken: a refused one was, and is not to be sent again. */
  const publish = async (
    { topic, qos, isRetained }: Pick<SourceConfig, 'topic' | 'qos' | 'isRetained'>,
    payload: string,
  ): Promise<boolean> => {
    try {
      await publisher.publish({ topic, qos, isRetained, payload: Buffer.from(payload) });
      return true;
    } catch (error) {
      if (error instanceof PublishRefusedError) return true;
      if (error instanceof OutboxFullError) return false;
      throw error;
    }
  };

  const take = async (): Promise<void> => {
    const value = await readValue(source, deps, signal);
    if (signal.aborted) return;
    if (typeof value === 'string') {
      state.count('failedReadings');
      state.noteError(`source ${name}: ${value}`);
      logger.warn({ event: 'source.failed', name, detail: value }, 'reading failed');
      return;
    }
    const { unit } = source;
    const payload = JSON.stringify({ value, unit, at: clock.now() });
    if (!(await publish(source, payload))) state.count('droppedReadings');
    for (const limit of source.limits) {
      const before = wasAbove.get(limit);
      const isAbove = isAboveLimit(limit, before, value);
      if (isAbove === before) continue;
      const text = isAbove ? limit.payloadAbove : limit.payloadBelow;
      if (await publish(limit, text)) wasAbove.set(limit, isAbove);
    }
  };

  while (!signal.aborted) {
    const startedMs = clock.nowMs();
    await take();
    const leftMs = source.everySeconds * 1000 - (clock.nowMs() - startedMs);
    await clock.sleep(Math.max(leftMs, 1), signal).catch(() => undefined);
  }
}
