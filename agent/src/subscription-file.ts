/**
 * Which filters the broker keeps for this device, between two runs: `subscriptions.json`. Without it a filter
 * that nobody wants any more, after a power cut or a change of the config, would bring messages for ever.
 *
 * Units   none.
 * Errors  `UsageError` when others may read the file; one that cannot be understood counts as empty, and
 *         one that cannot be written is logged.
 * Source  MQTT 3.1.1 3.1.2.4 (the broker keeps subscriptions of a session that is not clean).
 *
 * @module
 */
import { type Logger, parsedBy, parseTopicFilter, type TopicFilter } from '@latchkey/shared';
import * as v from 'valibot';
import { readPrivateFile, stateFile, writePrivateFile } from './private-file.js';

export interface KeptFilters {
  /** What an earlier run left at the broker. */
  readonly filters: readonly TopicFilter[];
  /** Writes the filters if they are not what was written last. */
  save(filters: readonly TopicFilter[]): Promise<void>;
}

const fileSchema = v.object({
  filters: v.array(
    v.pipe(
      v.string(),
      parsedBy((value) => parseTopicFilter(value)),
    ),
  ),
});

function parseFile(text: string | undefined): readonly TopicFilter[] {
  try {
    const result = v.safeParse(fileSchema, JSON.parse(text ?? '{}'));
    return result.success ? result.output.filters : [];
  } catch {
    return [];
  }
}

const format = (filters: readonly TopicFilter[]): string =>
  `${JSON.stringify({ filters: [...filters].sort() })}\n`;

export async function openSubscriptionFile(stateDir: string, logger: Logger): Promise<KeptFilters> {
  const path = stateFile(stateDir, 'subscriptions');
  const filters = parseFile(await readPrivateFile(path));
  let written = format(filters);
  return {
    filters,
    save: async (next) => {
      const text = format(next);
      if (text === written) return;
      written = text;
      try {
        await writePrivateFile(path, text);
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error);
        logger.warn({ event: 'subscription.not-kept', detail }, 'the filters cannot be written');
      }
    },
  };
}
