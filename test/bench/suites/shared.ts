/**
 * Suite `shared`: what a broker does for each connection (verify a token) and for each message and
 * subscription (decide by topic).
 *
 * @module
 */
import type { Suite } from '../harness.ts';
import { tokenComparison } from './shared-tokens.ts';
import { publishComparisons, subscribeComparisons } from './shared-topics.ts';

export const sharedSuite: Suite = {
  name: 'shared',
  about: 'verifying access tokens, deciding by topic',
  libraries: ['jose', 'qlobber'],
  prepare: async () => ({
    comparisons: [await tokenComparison(), ...publishComparisons(), ...subscribeComparisons()],
  }),
};
