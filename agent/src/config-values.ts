/**
 * Single values of the config file, each with its bounds.
 *
 * Units   seconds.
 * Errors  none of its own: a schema says what is wrong with a value.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { parsedBy, parseTopicFilter, type TopicFilter } from '@latchkey/shared';
import * as v from 'valibot';
import type { Command, Qos } from './config.js';
import {
  type FilterTemplate,
  type NameTemplate,
  parseFilterTemplate,
  parseNameTemplate,
} from './topic-templates.js';

type Schema<Output> = v.GenericSchema<unknown, Output>;

export const topicFilter: Schema<TopicFilter> = v.pipe(
  v.string(),
  parsedBy((value) => parseTopicFilter(value)),
);
export const nameTemplate: Schema<NameTemplate> = v.pipe(
  v.string(),
  parsedBy((value) => parseNameTemplate(value)),
);
export const filterTemplate: Schema<FilterTemplate> = v.pipe(
  v.string(),
  parsedBy((value) => parseFilterTemplate(value)),
);
export const path: Schema<string> = v.pipe(v.string(), v.minLength(1, 'must not be empty'));
/** Name of a part of the config, for log and status. */
export const partName: Schema<string> = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'must be 1 to 64 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit',
  ),
);
export const finite: Schema<number> = v.pipe(v.number(), v.finite('must be finite'));
export const notNegative: Schema<number> = v.pipe(finite, v.minValue(0, 'must be 0 or more'));
export const seconds = (least: number, most: number): Schema<number> =>
  v.pipe(
    v.number(),
    v.minValue(least, `must be ${least} or more`),
    v.maxValue(most, `must be ${most} or less`),
  );
export const whole = (least: number, most: number): Schema<number> =>
  v.pipe(seconds(least, most), v.integer('must be whole'));
export const shortText = (most: number): Schema<string> =>
  v.pipe(v.string(), v.maxLength(most, `must not exceed ${most} characters`));
export const command: Schema<Command> = v.pipe(
  v.array(v.string()),
  v.minLength(1, 'must name a program'),
  v.maxLength(64, 'must not exceed 64 arguments'),
  v.transform((argv) => argv as unknown as Command),
);
export const qos: Schema<Qos> = v.picklist([0, 1, 2]);
