/**
 * The part of the configuration that says how the trust feed is followed, and where copies are kept.
 *
 * Units   seconds as the names say.
 * Errors  `ConfigError` with the dotted path of each problem.
 * Source  DESIGN 4 (Trust feed); `broker.example.toml`.
 *
 * @module
 */
import { type ClientId, ConfigError, parseClientId, parsedBy } from '@latchkey/shared';
import * as v from 'valibot';
import { MAX_STALENESS_SECONDS } from '../options.js';
import { openKeyFile } from '../trust/key-file.js';
import { checkStateFile } from '../trust/state-file.js';
import { whole } from './limits-config.js';

export interface FeedConfig {
  readonly clientId: ClientId;
  readonly keyFile: string;
  readonly maxStalenessSeconds: number;
}

const { standard, most } = MAX_STALENESS_SECONDS;

export const feedSchema: v.GenericSchema<unknown, FeedConfig> = v.pipe(
  v.strictObject({
    client_id: v.pipe(
      v.string(),
      parsedBy((value) => parseClientId(value)),
    ),
    key_file: v.pipe(v.string(), v.nonEmpty('must not be empty')),
    max_staleness_seconds: v.optional(whole(1, most), standard),
  }),
  v.transform(({ client_id, key_file, max_staleness_seconds }) => ({
    clientId: client_id,
    keyFile: key_file,
    maxStalenessSeconds: max_staleness_seconds,
  })),
);

/** What a feed needs beside itself. */
export function checkFeed<
  Config extends {
    readonly issuer?: string | undefined;
    readonly state_file?: string | undefined;
    readonly feed?: FeedConfig | undefined;
  },
>(): v.RawCheckAction<Config> {
  return v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed || dataset.value.feed === undefined) return;
    for (const key of ['issuer', 'state_file'] as const) {
      if (dataset.value[key] !== undefined) continue;
      const place = { type: 'object', origin: 'value', input: {}, key, value: undefined } as const;
      addIssue({ message: 'is missing: [feed] needs it', path: [place] });
    }
  });
}

/** Looks at the files that are named, without changing them; the broker may be running. */
export function checkFeedFiles(
  source: string,
  {
    stateFile,
    feed,
  }: { readonly stateFile: string | undefined; readonly feed: FeedConfig | undefined },
): void {
  const check = (path: string, look: () => void): void => {
    try {
      look();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new ConfigError(source, [{ path, message: message.replaceAll(/\n\s*/g, ' ') }]);
    }
  };
  if (stateFile !== undefined) check('state_file', () => checkStateFile(stateFile));
  if (feed !== undefined) check('feed.key_file', () => void openKeyFile(feed.keyFile));
}
