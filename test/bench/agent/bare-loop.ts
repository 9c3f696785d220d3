/**
 * The least that a durable publisher does: INSERT in groups, then MQTT.js publishes the group. No socket,
 * no removal, nothing that brings a message back after a power cut.
 */
import SqliteDatabase from 'better-sqlite3';
import mqtt from 'mqtt';
import { answerWith } from '../asked-process.ts';
import { PAYLOAD, type PublishAnswer, type PublishQuestion, TOPIC } from './messages.ts';

const [, , url = '', file = ''] = process.argv;
const db = new SqliteDatabase(file);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
db.exec('CREATE TABLE message (sequence INTEGER PRIMARY KEY, topic TEXT, payload BLOB) STRICT');
const insert = db.prepare('INSERT INTO message (topic, payload) VALUES (?, ?)');
const payload = Buffer.from(PAYLOAD);
const insertGroup = db.transaction((size: number) => {
  for (let i = 0; i < size; i += 1) insert.run(TOPIC, payload);
});
const client = await mqtt.connectAsync(url, { clientId: 'loop', username: 'loop', password: 'x' });

answerWith(async ({ count, group }: PublishQuestion): Promise<PublishAnswer> => {
  const begun = performance.now();
  for (let left = count; left > 0; left -= group) {
    const size = Math.min(left, group);
    insertGroup.immediate(size);
    await Promise.all(
      Array.from({ length: size }, () => client.publishAsync(TOPIC, payload, { qos: 1 })),
    );
  }
  return { ms: performance.now() - begun };
});
