#!/usr/bin/env python3
"""Interoperability checks of an MQTT broker through paho-mqtt, at 3.1.1 and at 5.0.

    paho_suite.py --port N [--broker-aliases]

Prints `ok NAME` or `FAIL NAME: why` for each check, then `N passed, N failed`; the exit status is 1
when a check failed. Each wait is for an event and lasts 5 s at most. Topics and Client Identifiers
are new in every run, so a broker that has been used before does no harm.
"""

import argparse
import faulthandler
import queue
import secrets
import socket
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 5
SUITE_S = 240
V311, V5 = mqtt.MQTTv311, mqtt.MQTTv5
VERSION_NAMES = {V311: "3.1.1", V5: "5.0"}

CHECKS = []


class Failure(Exception):
    """What a check saw and what it had expected."""


def check(*versions):
    """Registers a check for these protocol versions."""

    def register(run):
        CHECKS.append((run, versions))
        return run

    return register


def expect(what, seen, wanted):
    if seen != wanted:
        raise Failure(f"{what}: saw {seen!r}, expected {wanted!r}")


def properties(packet_type, **values):
    """Properties of one packet; a list of pairs is allowed for UserProperty."""
    block = Properties(packet_type)
    for name, value in values.items():
        setattr(block, name, value)
    return block


class Peer:
    """One client of paho-mqtt whose callbacks become events that a check can await."""

    def __init__(self, bench, client_id, clean=True, session_expiry=None, alias_maximum=None,
                 will=None, inbox=None):
        self.bench = bench
        self.client_id = client_id
        self.inbox = inbox or queue.Queue()
        self.connected = queue.Queue()
        self.disconnected = queue.Queue()
        self.subscribed = queue.Queue()
        self.session_present = None
        is_v5 = bench.version == V5
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=bench.version,
            clean_session=None if is_v5 else clean, reconnect_on_failure=False)
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags, reason))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason)
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.subscribed.put(reasons)
        self.client.on_message = lambda _c, _u, message: self.inbox.put((self.client_id, message))
        if will is not None:
            self.client.will_set(**will)
        self.connect(clean, session_expiry, alias_maximum)

    def connect(self, clean, session_expiry, alias_maximum):
        options = {}
        if self.bench.version == V5:
            block = Properties(PacketTypes.CONNECT)
            if session_expiry is not None:
                block.SessionExpiryInterval = session_expiry
            if alias_maximum is not None:
                block.TopicAliasMaximum = alias_maximum
            options = {"clean_start": clean, "properties": block}
        self.client.connect("127.0.0.1", self.bench.port, keepalive=60, **options)
        self.client.loop_start()
        flags, reason = await_event(self.connected, f"CONNACK for {self.client_id}")
        if reason.is_failure:
            raise Failure(f"CONNECT of {self.client_id} was refused: {reason}")
        self.session_present = flags.session_present

    def subscribe(self, *filters, **values):
        """Subscribes to (filter, QoS) pairs and demands the QoS asked for."""
        block = properties(PacketTypes.SUBSCRIBE, **values) if values else None
        is_v5 = self.bench.version == V5
        self.client.subscribe(
            [(name, mqtt.SubscribeOptions(qos=qos) if is_v5 else qos) for name, qos in filters],
            properties=block)
        reasons = await_event(self.subscribed, f"SUBACK for {self.client_id}")
        expect("SUBACK", [reason.value for reason in reasons], [qos for _, qos in filters])

    def publish(self, topic, payload, qos=1, retain=False, **values):
        """Publishes and waits until the broker has taken the message as its QoS demands."""
        block = properties(PacketTypes.PUBLISH, **values) if values else None
        info = self.client.publish(topic, payload, qos=qos, retain=retain, properties=block)
        info.wait_for_publish(WAIT_S)
        if not info.is_published():
            raise Failure(f"a QoS {qos} message to {topic!r} was not acknowledged in {WAIT_S} s")

    def next_message(self, what="a message"):
        return await_event(self.inbox, f"{what} at {self.client_id}")[1]

    def expect_message(self, topic, payload, qos=None, retain=None):
        message = self.next_message(f"{payload!r} on {topic!r}")
        expect("message", (message.topic, message.payload), (topic, payload))
        if qos is not None:
            expect(f"QoS of {payload!r}", message.qos, qos)
        if retain is not None:
            expect(f"RETAIN of {payload!r}", bool(message.retain), retain)
        return message

    def disconnect(self):
        """Says DISCONNECT and waits until the connection is closed."""
        self.client.disconnect()
        await_event(self.disconnected, f"the end of {self.client_id}")
        self.client.loop_stop()

    def kill(self):
        """Closes the connection under the client: the broker sees no DISCONNECT."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        await_event(self.disconnected, f"the end of {self.client_id}")
        self.client.loop_stop()

    def close(self):
        """What is left to do when a check has ended, however it did."""
        if self.client.is_connected():
            self.client.disconnect()
        self.client.loop_stop()


def await_event(events, what):
    try:
        return events.get(timeout=WAIT_S)
    except queue.Empty:
        raise Failure(f"waited {WAIT_S} s for {what}") from None


class Bench:
    """One check's surroundings: the broker, the version, names nobody else uses, its clients."""

    def __init__(self, port, version, broker_aliases):
        self.port = port
        self.version = version
        self.broker_aliases = broker_aliases
        self.base = f"paho/{secrets.token_hex(6)}"
        self.peers = []

    def unique(self, stem):
        return f"{stem}-{secrets.token_hex(4)}"

    def peer(self, stem, client_id=None, **options):
        peer = Peer(self, client_id or self.unique(stem), **options)
        self.peers.append(peer)
        return peer

    def close(self):
        for peer in self.peers:
            peer.close()


def round_trip(bench, qos):
    topic = f"{bench.base}/round-trip"
    payloads = [b"", b"hello", bytes(range(256)), b"x" * 70_000]
    payloads += [f"number {n}".encode() for n in range(30)]
    subscriber = bench.peer("sub")
    subscriber.subscribe((topic, qos))
    publisher = bench.peer("pub")
    for payload in payloads:
        publisher.publish(topic, payload, qos=qos)
    for payload in payloads:
        subscriber.expect_message(topic, payload, qos=qos, retain=False)


@check(V311, V5)
def qos_0_round_trip(bench):
    round_trip(bench, 0)


@check(V311, V5)
def qos_1_round_trip(bench):
    round_trip(bench, 1)


@check(V311, V5)
def qos_2_round_trip(bench):
    round_trip(bench, 2)


@check(V311, V5)
def delivery_qos_is_the_lower_of_both(bench):
    topic = f"{bench.base}/downgrade"
    subscribers = [bench.peer(f"sub-{granted}") for granted in range(3)]
    for granted, subscriber in enumerate(subscribers):
        subscriber.subscribe((topic, granted))
    publisher = bench.peer("pub")
    for published in range(3):
        payload = f"sent at {published}".encode()
        publisher.publish(topic, payload, qos=published)
        for granted, subscriber in enumerate(subscribers):
            subscriber.expect_message(topic, payload, qos=min(published, granted))


@check(V311, V5)
def retained_is_set_and_replaced(bench):
    topic = f"{bench.base}/state"
    publisher = bench.peer("pub")
    for payload in (b"warm", b"hot"):
        publisher.publish(topic, payload, qos=1, retain=True)
        subscriber = bench.peer("late")
        subscriber.subscribe((topic, 1))
        subscriber.expect_message(topic, payload, qos=1, retain=True)
        subscriber.disconnect()


@check(V311, V5)
def retained_is_live_without_the_flag(bench):
    topic = f"{bench.base}/state"
    subscriber = bench.peer("early")
    subscriber.subscribe((topic, 1))
    bench.peer("pub").publish(topic, b"warm", qos=1, retain=True)
    subscriber.expect_message(topic, b"warm", retain=False)


@check(V311, V5)
def retained_is_deleted_by_an_empty_payload(bench):
    publisher = bench.peer("pub")
    for name in ("deleted", "kept"):
        publisher.publish(f"{bench.base}/{name}", b"warm", qos=1, retain=True)
    publisher.publish(f"{bench.base}/deleted", b"", qos=1, retain=True)
    subscriber = bench.peer("late")
    subscriber.subscribe((f"{bench.base}/#", 1))
    subscriber.expect_message(f"{bench.base}/kept", b"warm", retain=True)
    publisher.publish(f"{bench.base}/marker", b"end", qos=1)
    subscriber.expect_message(f"{bench.base}/marker", b"end", retain=False)


def expect_only(bench, topic_filter, matching, other):
    """What matches arrives in order; what does not match is not seen before the marker."""
    subscriber = bench.peer("sub")
    subscriber.subscribe((f"{bench.base}/{topic_filter}", 1), (f"{bench.base}-marker", 1))
    publisher = bench.peer("pub")
    for name in other + matching + other:
        publisher.publish(f"{bench.base}/{name}" if name else bench.base, b"21.5", qos=1)
    publisher.publish(f"{bench.base}-marker", b"end", qos=1)
    seen = [subscriber.next_message().topic for _ in range(len(matching) + 1)]
    wanted = [f"{bench.base}/{name}" if name else bench.base for name in matching]
    expect("topics", sorted(seen[:-1]), sorted(wanted))
    expect("last topic", seen[-1], f"{bench.base}-marker")


@check(V311, V5)
def plus_matches_one_level(bench):
    expect_only(
        bench, "+/temperature", matching=["kitchen/temperature", "bath/temperature", "/temperature"],
        other=["kitchen/humidity", "kitchen/oven/temperature", "temperature"])


@check(V311, V5)
def hash_matches_the_rest_and_its_parent(bench):
    expect_only(
        bench, "house/#", matching=["house/kitchen/temperature", "house/kitchen", "house", "house/"],
        other=["garden/house", "houses"])


@check(V311, V5)
def will_is_published_when_the_connection_breaks(bench):
    topic = f"{bench.base}/status"
    watcher = bench.peer("watcher")
    watcher.subscribe((f"{topic}/#", 1))
    orderly = bench.peer("orderly", will={"topic": f"{topic}/orderly", "payload": b"gone", "qos": 1})
    broken = bench.peer("broken", will={"topic": f"{topic}/broken", "payload": b"gone", "qos": 1,
                                        "retain": True})
    orderly.disconnect()
    broken.kill()
    watcher.expect_message(f"{topic}/broken", b"gone", qos=1, retain=False)
    late = bench.peer("late")
    late.subscribe((f"{topic}/#", 1))
    late.expect_message(f"{topic}/broken", b"gone", qos=1, retain=True)


@check(V311, V5)
def persistent_session_keeps_messages(bench):
    topics = {qos: f"{bench.base}/news/{qos}" for qos in (1, 2)}
    client_id = bench.unique("away")
    first = bench.peer("away", client_id=client_id, clean=False, session_expiry=600)
    expect("Session Present of a new Session", bool(first.session_present), False)
    first.subscribe(*((topic, qos) for qos, topic in topics.items()))
    first.disconnect()
    publisher = bench.peer("pub")
    numbers = [str(n).encode() for n in range(10)]
    for number in numbers:
        for qos, topic in topics.items():
            publisher.publish(topic, number, qos=qos)
    second = bench.peer("away", client_id=client_id, clean=False, session_expiry=600)
    expect("Session Present on return", bool(second.session_present), True)
    seen = {topic: [] for topic in topics.values()}
    for _ in range(2 * len(numbers)):
        message = second.next_message("a kept message")
        seen[message.topic].append((message.qos, message.payload))
    for qos, topic in topics.items():
        expect(f"kept messages at QoS {qos}", seen[topic], [(qos, number) for number in numbers])
    second.disconnect()
    third = bench.peer("away", client_id=client_id, clean=True)
    expect("Session Present after a clean start", bool(third.session_present), False)


@check(V5)
def user_properties_keep_their_order(bench):
    topic = f"{bench.base}/user"
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("a", "ü€😀")]
    subscriber = bench.peer("sub")
    subscriber.subscribe((topic, 1))
    bench.peer("pub").publish(topic, b"hello", UserProperty=pairs)
    message = subscriber.expect_message(topic, b"hello")
    expect("User Properties", [tuple(pair) for pair in message.properties.UserProperty], pairs)


@check(V5)
def message_expiry_counts_down_and_ends(bench):
    topic = f"{bench.base}/expiry"
    client_id = bench.unique("away")
    bench.peer("away", client_id=client_id, clean=False, session_expiry=600)
    away = bench.peers[-1]
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = bench.peer("pub")
    publisher.publish(topic, b"short", MessageExpiryInterval=1)
    publisher.publish(topic, b"long", MessageExpiryInterval=100)
    # The broker's own clock says when more than a second has passed: a Will that is delayed by two.
    watcher = bench.peer("watcher")
    watcher.subscribe((f"{bench.base}/clock", 1))
    delay = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=2)
    bench.peer("clock", session_expiry=60, will={
        "topic": f"{bench.base}/clock", "payload": b"two seconds", "qos": 1, "properties": delay,
    }).kill()
    watcher.expect_message(f"{bench.base}/clock", b"two seconds")
    back = bench.peer("away", client_id=client_id, clean=False, session_expiry=600)
    message = back.expect_message(topic, b"long")
    left = message.properties.MessageExpiryInterval
    if not 90 <= left <= 99:
        raise Failure(f"Message Expiry Interval: saw {left}, expected 100 less at least a second")


@check(V5)
def subscription_identifiers_are_returned(bench):
    topic = f"{bench.base}/identified"
    subscriber = bench.peer("sub")
    subscriber.subscribe((f"{bench.base}/+", 1), SubscriptionIdentifier=7)
    subscriber.subscribe((f"{bench.base}/#", 1), SubscriptionIdentifier=268_435_455)
    bench.peer("pub").publish(topic, b"hello")
    # A broker may send one copy with both or one copy for each Subscription [v5 3.3.4].
    seen = set()
    while len(seen) < 2:
        seen.update(subscriber.expect_message(topic, b"hello").properties.SubscriptionIdentifier)
    expect("Subscription Identifiers", seen, {7, 268_435_455})


@check(V5)
def topic_alias_of_the_publisher_is_resolved(bench):
    subscriber = bench.peer("sub")
    subscriber.subscribe((f"{bench.base}/#", 1))
    publisher = bench.peer("pub")
    publisher.publish(f"{bench.base}/one", b"1", TopicAlias=1)
    publisher.publish("", b"2", TopicAlias=1)
    publisher.publish(f"{bench.base}/two", b"3", TopicAlias=1)
    publisher.publish("", b"4", TopicAlias=1)
    for name, payload in (("one", b"1"), ("one", b"2"), ("two", b"3"), ("two", b"4")):
        subscriber.expect_message(f"{bench.base}/{name}", payload)


@check(V5)
def topic_alias_of_the_broker_can_be_resolved(bench):
    topic = f"{bench.base}/aliased"
    subscriber = bench.peer("sub", alias_maximum=5)
    subscriber.subscribe((topic, 1))
    publisher = bench.peer("pub")
    aliases = {}
    aliased = 0
    for payload in (b"1", b"2", b"3"):
        publisher.publish(topic, payload)
        message = subscriber.next_message()
        alias = getattr(message.properties, "TopicAlias", None)
        if message.topic:
            aliases[alias] = message.topic
        else:
            aliased += 1
        expect("message", (message.topic or aliases.get(alias), message.payload), (topic, payload))
    if bench.broker_aliases:
        expect("messages sent with an alias alone", aliased, 2)


@check(V5)
def shared_subscription_divides_the_messages(bench):
    topic = f"{bench.base}/jobs"
    inbox = queue.Queue()
    members = [bench.peer(f"member-{n}", inbox=inbox) for n in range(2)]
    for member in members:
        member.subscribe((f"$share/workers/{topic}", 1))
    publisher = bench.peer("pub")
    jobs = [f"job {n}".encode() for n in range(10)]
    for job in jobs:
        publisher.publish(topic, job)
    taken = [await_event(inbox, "a shared message") for _ in jobs]
    expect("shared messages", sorted(message.payload for _, message in taken), jobs)
    expect("members at work", {name for name, _ in taken}, {m.client_id for m in members})


@check(V5)
def request_and_response_find_each_other(bench):
    requests, answers = f"{bench.base}/requests", f"{bench.base}/answers"
    requester, responder = bench.peer("requester"), bench.peer("responder")
    requester.subscribe((answers, 1))
    responder.subscribe((requests, 1))
    requester.publish(requests, b"temperature?", ResponseTopic=answers, CorrelationData=b"\x00\xff7",
                      ContentType="text/plain", PayloadFormatIndicator=1)
    request = responder.expect_message(requests, b"temperature?").properties
    expect("Content Type", request.ContentType, "text/plain")
    expect("Payload Format Indicator", request.PayloadFormatIndicator, 1)
    responder.publish(request.ResponseTopic, b"21.5", CorrelationData=request.CorrelationData)
    answer = requester.expect_message(answers, b"21.5").properties
    expect("Correlation Data", answer.CorrelationData, b"\x00\xff7")


def run_check(run, version, arguments):
    """Runs one check and says how it went; True if it passed."""
    name = f"paho {VERSION_NAMES[version]} {run.__name__}"
    bench = Bench(arguments.port, version, arguments.broker_aliases)
    try:
        run(bench)
    except Exception as error:  # noqa: BLE001 - a suite reports whatever went wrong and goes on
        why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        print(f"FAIL {name}: {why}", flush=True)
        return False
    finally:
        bench.close()
    print(f"ok {name}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="port of the broker on 127.0.0.1")
    parser.add_argument("--broker-aliases", action="store_true",
                        help="demand that the broker assigns Topic Aliases of its own")
    arguments = parser.parse_args()
    # A hang in the library itself must not become a hang of the tests.
    faulthandler.dump_traceback_later(SUITE_S, exit=True)
    results = [run_check(run, version, arguments)
               for version in (V311, V5) for run, versions in CHECKS if version in versions]
    print(f"{results.count(True)} passed, {results.count(False)} failed", flush=True)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
