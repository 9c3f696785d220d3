/**
 * Loaded with `node --import` into a program under test: kills it with SIGKILL just before step number
 * `LATCHKEY_TEST_DIE_AT`. A step is a change to the file system through `node:fs/promises`, a request
 * of `node:http` or the coming of its answer. Without that number the steps are counted to stderr.
 */
import { writeSync } from 'node:fs';
import files from 'node:fs/promises';
import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';

const dieAt = Number(process.env.LATCHKEY_TEST_DIE_AT);
let steps = 0;

function step() {
  steps += 1;
  if (steps !== dieAt) return;
  writeSync(2, 'killed\n');
  process.kill(process.pid, 'SIGKILL');
  for (;;); // nothing runs any more
}

for (const name of ['link', 'rename', 'rm', 'mkdir']) {
  const original = files[name];
  files[name] = (...args) => {
    step();
    return original(...args);
  };
}

const open = files.open;
files.open = async (...args) => {
  const isNew = String(args[1]).startsWith('w');
  if (isNew) step();
  const file = await open(...args);
  for (const name of isNew ? ['writeFile', 'sync'] : ['sync']) {
    const original = file[name].bind(file);
    file[name] = (...more) => {
      step();
      return original(...more);
    };
  }
  return file;
};

const request = http.request;
http.request = (...args) => {
  step();
  const outgoing = request(...args);
  outgoing.prependOnceListener('response', step);
  return outgoing;
};
syncBuiltinESMExports();
