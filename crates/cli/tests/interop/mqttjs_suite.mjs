#!/usr/bin/env node
// Interoperability checks of an MQTT broker through MQTT.js, at 3.1.1 and at 5.0.
//
//     mqttjs_suite.mjs --port N [--broker-aliases]
//
// Prints `ok NAME` or `FAIL NAME: why` for each check, then `N passed, N failed`; the exit status is 1
// when a check failed. Each wait is for an event and lasts 5 s at most. MQTT.js is looked for in
// $DUNLIN_TEST_NEEDS/node, else in target/test-needs/node of this repository, where
// scripts/install-test-needs.sh puts it.

import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

const WAIT_MS = 5_000;
const SUITE_MS = 240_000;
const V311 = 4;
const V5 = 5;
const VERSION_NAMES = { [V311]: '3.1.1', [V5]: '5.0' };

const here = path.dirname(fileURLToPath(import.meta.url));
const needs = process.env.DUNLIN_TEST_NEEDS ?? path.join(here, '../../../../target/test-needs');
const mqtt = createRequire(path.join(needs, 'node', 'package.json'))('mqtt');

const { values: args } = parseArgs({
  options: { port: { type: 'string' }, 'broker-aliases': { type: 'boolean', default: false } },
});

function show(value) {
  const text = JSON.stringify(value, (_key, item) =>
    item instanceof Map ? Object.fromEntries(item) : item instanceof Set ? [...item] : item);
  return text ?? String(value);
}

function expect(what, seen, wanted) {
  if (!isDeepStrictEqual(seen, wanted)) {
    throw new Error(`${what}: saw ${show(seen)}, expected ${show(wanted)}`);
  }
}

/** The promise's value, or an error that names what was awaited when 5 s have passed. */
function within(promise, what) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${WAIT_MS / 1000} s for ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Messages in the order of their arrival; several clients may share one. */
class Inbox {
  #messages = [];
  #waiting = [];

  put(message) {
    const taker = this.#waiting.shift();
    if (taker) taker(message);
    else this.#messages.push(message);
  }

  next(what = 'a message') {
    if (this.#messages.length > 0) return Promise.resolve(this.#messages.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  async expect(topic, payload, wanted = {}) {
    const message = await this.next(`'${payload}' on '${topic}'`);
    expect('message', [message.topic, message.payload], [topic, payload]);
    for (const [name, value] of Object.entries(wanted)) {
      expect(`${name} of '${payload}'`, message[name], value);
    }
    return message;
  }
}

/** One client of MQTT.js; made by Bench.peer, which waits for its CONNACK. */
class Peer {
  constructor(client, clientId, inbox) {
    this.client = client;
    this.clientId = clientId;
    this.inbox = inbox;
    this.closed = new Promise((resolve) => client.once('close', resolve));
    client.on('message', (topic, payload, packet) => inbox.put({
      receiver: clientId,
      topic,
      topicOnTheWire: packet.topic.toString(),
      payload: payload.toString('latin1'),
      qos: packet.qos,
      retain: packet.retain,
      properties: packet.properties ?? {},
    }));
  }

  /** Subscribes to [filter, QoS] pairs and demands the QoS asked for. */
  async subscribe(filters, properties) {
    const options = properties ? { properties } : {};
    const wanted = Object.fromEntries(filters.map(([name, qos]) => [name, { qos }]));
    const grants = await within(
      this.client.subscribeAsync(wanted, options), `SUBACK for ${this.clientId}`);
    expect('SUBACK', grants.map((grant) => grant.qos), filters.map(([, qos]) => qos));
  }

  /** Publishes and waits until the broker has taken the message as its QoS demands. */
  async publish(topic, payload, { qos = 1, retain = false, ...properties } = {}) {
    const options = { qos, retain };
    if (Object.keys(properties).length > 0) options.properties = properties;
    await within(this.client.publishAsync(topic, Buffer.from(payload, 'latin1'), options),
      `the acknowledgement of a QoS ${qos} message to '${topic}'`);
  }

  async disconnect() {
    await within(this.client.endAsync(), `the end of ${this.clientId}`);
  }

  /** Closes the connection under the client: the broker sees no DISCONNECT. */
  async kill() {
    this.client.stream.destroy();
    await within(this.closed, `the end of ${this.clientId}`);
  }
}

/** One check's surroundings: the broker, the version, names nobody else uses, its clients. */
class Bench {
  constructor(port, version, brokerAliases) {
    this.port = port;
    this.version = version;
    this.brokerAliases = brokerAliases;
    this.base = `mqttjs/${randomBytes(6).toString('hex')}`;
    this.peers = [];
  }

  unique(stem) {
    return `${stem}-${randomBytes(4).toString('hex')}`;
  }

  async peer(stem, { clientId = this.unique(stem), clean = true, will, properties, inbox } = {}) {
    const options = {
      clientId, clean, will, protocolVersion: this.version, reconnectPeriod: 0, resubscribe: false,
      connectTimeout: WAIT_MS,
    };
    if (this.version === V5 && properties) options.properties = properties;
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.port}`, options);
    const peer = new Peer(client, clientId, inbox ?? new Inbox());
    this.peers.push(peer);
    const connack = await within(new Promise((resolve, reject) => {
      client.once('connect', resolve);
      client.once('error', reject);
    }), `CONNACK for ${clientId}`);
    peer.sessionPresent = connack.sessionPresent;
    // Later errors show as what a check then waits for in vain.
    client.on('error', () => {});
    return peer;
  }

  async close() {
    await Promise.allSettled(this.peers.map((peer) => within(peer.client.endAsync(true), 'an end')));
  }
}

const checks = [];
const check = (versions, name, run) => checks.push({ versions, name, run });
const both = [V311, V5];

for (const qos of [0, 1, 2]) {
  check(both, `qos_${qos}_round_trip`, async (bench) => {
    const topic = `${bench.base}/round-trip`;
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n)).toString('latin1');
    const payloads = ['', 'hello', bytes, 'x'.repeat(70_000)];
    for (let n = 0; n < 30; n += 1) payloads.push(`number ${n}`);
    const subscriber = await bench.peer('sub');
    await subscriber.subscribe([[topic, qos]]);
    const publisher = await bench.peer('pub');
    for (const payload of payloads) await publisher.publish(topic, payload, { qos });
    for (const payload of payloads) {
      await subscriber.inbox.expect(topic, payload, { qos, retain: false });
    }
  });
}

check(both, 'delivery_qos_is_the_lower_of_both', async (bench) => {
  const topic = `${bench.base}/downgrade`;
  const subscribers = [];
  for (const granted of [0, 1, 2]) {
    const subscriber = await bench.peer(`sub-${granted}`);
    await subscriber.subscribe([[topic, granted]]);
    subscribers.push(subscriber);
  }
  const publisher = await bench.peer('pub');
  for (const published of [0, 1, 2]) {
    await publisher.publish(topic, `sent at ${published}`, { qos: published });
    for (const [granted, subscriber] of subscribers.entries()) {
      await subscriber.inbox.expect(
        topic, `sent at ${published}`, { qos: Math.min(published, granted) });
    }
  }
});

check(both, 'retained_is_set_and_replaced', async (bench) => {
  const topic = `${bench.base}/state`;
  const publisher = await bench.peer('pub');
  for (const payload of ['warm', 'hot']) {
    await publisher.publish(topic, payload, { retain: true });
    const subscriber = await bench.peer('late');
    await subscriber.subscribe([[topic, 1]]);
    await subscriber.inbox.expect(topic, payload, { qos: 1, retain: true });
  }
});

check(both, 'retained_is_live_without_the_flag', async (bench) => {
  const topic = `${bench.base}/state`;
  const subscriber = await bench.peer('early');
  await subscriber.subscribe([[topic, 1]]);
  await (await bench.peer('pub')).publish(topic, 'warm', { retain: true });
  await subscriber.inbox.expect(topic, 'warm', { retain: false });
});

check(both, 'retained_is_deleted_by_an_empty_payload', async (bench) => {
  const publisher = await bench.peer('pub');
  for (const name of ['deleted', 'kept']) {
    await publisher.publish(`${bench.base}/${name}`, 'warm', { retain: true });
  }
  await publisher.publish(`${bench.base}/deleted`, '', { retain: true });
  const subscriber = await bench.peer('late');
  await subscriber.subscribe([[`${bench.base}/#`, 1]]);
  await subscriber.inbox.expect(`${bench.base}/kept`, 'warm', { retain: true });
  await publisher.publish(`${bench.base}/marker`, 'end');
  await subscriber.inbox.expect(`${bench.base}/marker`, 'end', { retain: false });
});

/** What matches arrives; what does not match is not seen before the marker. */
async function expectOnly(bench, filter, matching, other) {
  const marker = `${bench.base}-marker`;
  const subscriber = await bench.peer('sub');
  await subscriber.subscribe([[`${bench.base}/${filter}`, 1], [marker, 1]]);
  const publisher = await bench.peer('pub');
  for (const name of [...other, ...matching, ...other]) {
    await publisher.publish(`${bench.base}/${name}`, '21.5');
  }
  await publisher.publish(marker, 'end');
  const seen = [];
  for (let n = 0; n <= matching.length; n += 1) seen.push((await subscriber.inbox.next()).topic);
  expect('last topic', seen.pop(), marker);
  expect('topics', seen.sort(), matching.map((name) => `${bench.base}/${name}`).sort());
}

check(both, 'plus_matches_one_level', (bench) => expectOnly(
  bench, '+/temperature', ['kitchen/temperature', 'bath/temperature', '/temperature'],
  ['kitchen/humidity', 'kitchen/oven/temperature', 'temperature']));

check(both, 'hash_matches_the_rest_and_its_parent', (bench) => expectOnly(
  bench, 'house/#', ['house/kitchen/temperature', 'house/kitchen', 'house', 'house/'],
  ['garden/house', 'houses']));

check(both, 'will_is_published_when_the_connection_breaks', async (bench) => {
  const topic = `${bench.base}/status`;
  const will = (name) => ({ topic: `${topic}/${name}`, payload: 'gone', qos: 1, retain: true });
  const watcher = await bench.peer('watcher');
  await watcher.subscribe([[`${topic}/#`, 1]]);
  const orderly = await bench.peer('orderly', { will: will('orderly') });
  const broken = await bench.peer('broken', { will: will('broken') });
  await orderly.disconnect();
  await broken.kill();
  await watcher.inbox.expect(`${topic}/broken`, 'gone', { qos: 1, retain: false });
  const late = await bench.peer('late');
  await late.subscribe([[`${topic}/#`, 1]]);
  await late.inbox.expect(`${topic}/broken`, 'gone', { qos: 1, retain: true });
});

const durable = { clean: false, properties: { sessionExpiryInterval: 600 } };

check(both, 'persistent_session_keeps_messages', async (bench) => {
  const topics = { 1: `${bench.base}/news/1`, 2: `${bench.base}/news/2` };
  const clientId = bench.unique('away');
  const first = await bench.peer('away', { clientId, ...durable });
  expect('Session Present of a new Session', first.sessionPresent, false);
  await first.subscribe([[topics[1], 1], [topics[2], 2]]);
  await first.disconnect();
  const publisher = await bench.peer('pub');
  const numbers = Array.from({ length: 10 }, (_, n) => String(n));
  for (const number of numbers) {
    await publisher.publish(topics[1], number, { qos: 1 });
    await publisher.publish(topics[2], number, { qos: 2 });
  }
  const second = await bench.peer('away', { clientId, ...durable });
  expect('Session Present on return', second.sessionPresent, true);
  const seen = { [topics[1]]: [], [topics[2]]: [] };
  for (let n = 0; n < 2 * numbers.length; n += 1) {
    const message = await second.inbox.next('a kept message');
    seen[message.topic]?.push([message.qos, message.payload]);
  }
  for (const qos of [1, 2]) {
    expect(`kept messages at QoS ${qos}`, seen[topics[qos]], numbers.map((text) => [qos, text]));
  }
  await second.disconnect();
  const third = await bench.peer('away', { clientId });
  expect('Session Present after a clean start', third.sessionPresent, false);
});

check([V5], 'user_properties_keep_their_order', async (bench) => {
  const topic = `${bench.base}/user`;
  const subscriber = await bench.peer('sub');
  await subscriber.subscribe([[topic, 1]]);
  // MQTT.js groups the values of a name, so the order that it can show is that of names and,
  // below a name, of its values.
  const userProperties = { b: ['1', '2', '1'], a: 'ü€😀', c: '' };
  await (await bench.peer('pub')).publish(topic, 'hello', { userProperties });
  const seen = (await subscriber.inbox.expect(topic, 'hello')).properties.userProperties;
  expect('User Properties', Object.entries(seen), Object.entries(userProperties));
});

check([V5], 'message_expiry_counts_down_and_ends', async (bench) => {
  const topic = `${bench.base}/expiry`;
  const clock = `${bench.base}/clock`;
  const clientId = bench.unique('away');
  const away = await bench.peer('away', { clientId, ...durable });
  await away.subscribe([[topic, 1]]);
  await away.disconnect();
  const publisher = await bench.peer('pub');
  await publisher.publish(topic, 'short', { messageExpiryInterval: 1 });
  await publisher.publish(topic, 'long', { messageExpiryInterval: 100 });
  // The broker's own clock says when more than a second has passed: a Will that is delayed by two.
  const watcher = await bench.peer('watcher');
  await watcher.subscribe([[clock, 1]]);
  const will = { topic: clock, payload: 'two seconds', qos: 1, properties: { willDelayInterval: 2 } };
  const broken = await bench.peer('clock', { will, properties: { sessionExpiryInterval: 60 } });
  await broken.kill();
  await watcher.inbox.expect(clock, 'two seconds');
  const back = await bench.peer('away', { clientId, ...durable });
  const left = (await back.inbox.expect(topic, 'long')).properties.messageExpiryInterval;
  expect(`Message Expiry Interval ${left} between 90 and 99`, left >= 90 && left <= 99, true);
});

check([V5], 'subscription_identifiers_are_returned', async (bench) => {
  const subscriber = await bench.peer('sub');
  await subscriber.subscribe([[`${bench.base}/+`, 1]], { subscriptionIdentifier: 7 });
  await subscriber.subscribe([[`${bench.base}/#`, 1]], { subscriptionIdentifier: 268_435_455 });
  await (await bench.peer('pub')).publish(`${bench.base}/identified`, 'hello');
  // A broker may send one copy with both or one copy for each Subscription [v5 3.3.4].
  const seen = new Set();
  while (seen.size < 2) {
    const message = await subscriber.inbox.expect(`${bench.base}/identified`, 'hello');
    for (const id of [message.properties.subscriptionIdentifier].flat()) seen.add(id);
  }
  expect('Subscription Identifiers', seen, new Set([7, 268_435_455]));
});

check([V5], 'topic_alias_of_the_publisher_is_resolved', async (bench) => {
  const subscriber = await bench.peer('sub');
  await subscriber.subscribe([[`${bench.base}/#`, 1]]);
  const publisher = await bench.peer('pub');
  await publisher.publish(`${bench.base}/one`, '1', { topicAlias: 1 });
  await publisher.publish('', '2', { topicAlias: 1 });
  await publisher.publish(`${bench.base}/two`, '3', { topicAlias: 1 });
  await publisher.publish('', '4', { topicAlias: 1 });
  for (const [name, payload] of [['one', '1'], ['one', '2'], ['two', '3'], ['two', '4']]) {
    await subscriber.inbox.expect(`${bench.base}/${name}`, payload);
  }
});

check([V5], 'topic_alias_of_the_broker_can_be_resolved', async (bench) => {
  const topic = `${bench.base}/aliased`;
  const subscriber = await bench.peer('sub', { properties: { topicAliasMaximum: 5 } });
  await subscriber.subscribe([[topic, 1]]);
  const publisher = await bench.peer('pub');
  const onTheWire = [];
  for (const payload of ['1', '2', '3']) {
    await publisher.publish(topic, payload);
    onTheWire.push((await subscriber.inbox.expect(topic, payload)).topicOnTheWire);
  }
  if (bench.brokerAliases) expect('Topic Names on the wire', onTheWire, [topic, '', '']);
});

check([V5], 'shared_subscription_divides_the_messages', async (bench) => {
  const topic = `${bench.base}/jobs`;
  const inbox = new Inbox();
  const members = [await bench.peer('member', { inbox }), await bench.peer('member', { inbox })];
  for (const member of members) await member.subscribe([[`$share/workers/${topic}`, 1]]);
  const publisher = await bench.peer('pub');
  const jobs = Array.from({ length: 10 }, (_, n) => `job ${n}`);
  for (const job of jobs) await publisher.publish(topic, job);
  const taken = [];
  for (const _ of jobs) taken.push(await inbox.next('a shared message'));
  expect('shared messages', taken.map((message) => message.payload).sort(), jobs);
  expect('members at work', [...new Set(taken.map((message) => message.receiver))].sort(),
    members.map((member) => member.clientId).sort());
});

check([V5], 'request_and_response_find_each_other', async (bench) => {
  const [requests, answers] = [`${bench.base}/requests`, `${bench.base}/answers`];
  const requester = await bench.peer('requester');
  const responder = await bench.peer('responder');
  await requester.subscribe([[answers, 1]]);
  await responder.subscribe([[requests, 1]]);
  await requester.publish(requests, 'temperature?', {
    responseTopic: answers, correlationData: Buffer.from([0, 255, 55]), contentType: 'text/plain',
    payloadFormatIndicator: true,
  });
  const request = (await responder.inbox.expect(requests, 'temperature?')).properties;
  expect('Content Type', request.contentType, 'text/plain');
  expect('Payload Format Indicator', request.payloadFormatIndicator, true);
  const { correlationData } = request;
  await responder.publish(request.responseTopic, '21.5', { correlationData });
  const answer = (await requester.inbox.expect(answers, '21.5')).properties;
  expect('Correlation Data', [...answer.correlationData], [0, 255, 55]);
});

/** Runs one check and says how it went; true if it passed. */
async function runCheck({ name, run }, version) {
  const title = `mqttjs ${VERSION_NAMES[version]} ${name}`;
  const bench = new Bench(Number(args.port), version, args['broker-aliases']);
  try {
    await run(bench);
    console.log(`ok ${title}`);
    return true;
  } catch (error) {
    console.log(`FAIL ${title}: ${error.message}`);
    return false;
  } finally {
    await bench.close();
  }
}

async function main() {
  if (!Number.isInteger(Number(args.port)) || Number(args.port) <= 0) {
    console.error('mqttjs_suite.mjs: --port wants the port of the broker on 127.0.0.1');
    return 2;
  }
  // A hang in the library itself must not become a hang of the tests.
  setTimeout(() => {
    console.log(`FAIL mqttjs: the suite did not end within ${SUITE_MS / 1000} s`);
    process.exit(1);
  }, SUITE_MS).unref();
  const results = [];
  for (const version of both) {
    for (const item of checks.filter(({ versions }) => versions.includes(version))) {
      results.push(await runCheck(item, version));
    }
  }
  const passed = results.filter(Boolean).length;
  console.log(`${passed} passed, ${results.length - passed} failed`);
  return passed === results.length ? 0 : 1;
}

process.exitCode = await main();
