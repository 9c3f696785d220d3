/**
 * A logger that keeps its lines, and lets a test wait for one.
 *
 * @module
 */
import type { LogFields, Logger } from '@latchkey/shared';

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: LogFields;
}

export interface CapturedLog extends Logger {
  readonly lines: readonly LogLine[];
  /** Fields of all lines with this event. */
  all(event: string): readonly LogFields[];
  /** The first line of this event, from the line number `after` on, that has these fields; waits for it. */
  event(event: string, fields?: LogFields, after?: number): Promise<LogFields>;
  /** Everything logged, as one text. */
  text(): string;
}

export function createCapturedLog(): CapturedLog {
  const lines: LogLine[] = [];
  const watchers = new Set<() => void>();
  const add = (level: LogLine['level']) => (fields: LogFields, message: string) => {
    lines.push({ level, message, fields });
    for (const watch of watchers) watch();
  };
  return {
    debug: add('debug'),
    info: add('info'),
    warn: add('warn'),
    error: add('error'),
    lines,
    all: (event) => lines.filter((line) => line.fields.event === event).map(({ fields }) => fields),
    event: (event, expected = {}, after = 0) =>
      new Promise((resolve) => {
        const watch = () => {
          const line = lines
            .slice(after)
            .find(
              ({ fields }) =>
                fields.event === event &&
                Object.entries(expected).every(([name, value]) => fields[name] === value),
            );
          if (line === undefined) return;
          watchers.delete(watch);
          resolve(line.fields);
        };
        watchers.add(watch);
        watch();
      }),
    text: () =>
      lines
        .map(({ message, fields }) => {
          const err = fields.err instanceof Error ? (fields.err.stack ?? '') : '';
          return `${message} ${JSON.stringify(fields)} ${err}`;
        })
        .join('\n'),
  };
}
