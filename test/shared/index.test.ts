import * as shared from '@latchkey/shared';
import { expect, test } from 'vitest';

test.each([
  'parseTopicName',
  'parseTopicFilter',
  'matches',
  'covers',
  'parseScope',
  'compileTopicRights',
  'decide',
  'generateKey',
  'thumbprint',
  'signAssertion',
  'verifyAssertion',
  'signAccessToken',
  'verifyAccessToken',
])('%s is exported', (name) => {
  expect(shared).toHaveProperty(name, expect.any(Function));
});

test.each([
  'readJwt',
  'verifySignature',
  'signJwt',
  'buildRightsTree',
  'findEntry',
  'withShortestLevels',
])('%s is a part inside and not exported', (name) => {
  expect(shared).not.toHaveProperty(name);
});
