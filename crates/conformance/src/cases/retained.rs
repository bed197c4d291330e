//! Retained messages: set, replaced and removed; Retain Handling, Retain As Published, wildcards, and expiry.
//!
//! To prove that no retained message comes, a case asks for another one afterwards and receives that one first.

use std::collections::BTreeSet;
use std::time::Instant;

use super::publish::{durable, let_seconds_pass};
use super::publish_properties::{
    MESSAGE_EXPIRY_INTERVAL, RECEIVE_MAXIMUM, RETAIN_AVAILABLE, SUBSCRIPTION_IDENTIFIER,
    assert_every_property, every_property, expiry,
};
use crate::{Case, ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, case};

/// Subscription Options, to be added to the QoS.
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const SEND_IF_NEW: u8 = 0x10;
const DO_NOT_SEND: u8 = 0x20;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        retained_message_is_stored_and_replaced,
        ["v5[MQTT-3.3.1-5]", "v5[MQTT-3.3.1-9]"]
    ),
    case!(
        retained_message_outlives_its_publisher,
        ["v5[MQTT-3.3.1-5]"]
    ),
    case!(
        retained_message_is_removed_by_an_empty_one,
        ["v5[MQTT-3.3.1-6]"]
    ),
    case!(retained_empty_message_is_never_stored, ["v5[MQTT-3.3.1-7]"]),
    case!(
        retained_message_is_untouched_without_the_flag,
        ["v5[MQTT-3.3.1-8]"]
    ),
    case!(
        retained_message_is_not_made_without_the_flag,
        ["v5[MQTT-3.3.1-8]"]
    ),
    case!(
        retained_message_is_delivered_at_the_lower_qos,
        ["v5[MQTT-3.3.1-9]", "v5[MQTT-3.8.4-8]"]
    ),
    case!(
        retained_message_keeps_its_properties,
        [
            "v5[MQTT-3.3.2-4]",
            "v5[MQTT-3.3.2-15]",
            "v5[MQTT-3.3.2-16]",
            "v5[MQTT-3.3.2-17]",
            "v5[MQTT-3.3.2-18]",
            "v5[MQTT-3.3.2-20]"
        ]
    ),
    case!(
        retained_messages_are_found_by_wildcards,
        ["v5[MQTT-3.3.1-9]", "v5[MQTT-3.3.2-3]"]
    ),
    case!(
        retained_messages_keep_to_receive_maximum,
        ["v5[MQTT-3.3.1-9]", "v5[MQTT-3.3.4-9]"]
    ),
    case!(retained_message_expires, ["v5[MQTT-3.3.2-5]"]),
    case!(
        retained_message_has_its_expiry_reduced,
        ["v5[MQTT-3.3.2-6]"]
    ),
    case!(
        retained_message_where_retain_is_unavailable_is_refused,
        ["v5[MQTT-3.2.2-14]"]
    ),
    case!(
        retain_handling_0_sends_at_every_subscribe,
        ["v5[MQTT-3.3.1-9]", "v5[MQTT-3.8.4-4]"]
    ),
    case!(
        retain_handling_1_sends_to_a_new_subscription_only,
        ["v5[MQTT-3.3.1-10]"]
    ),
    case!(
        retain_handling_1_knows_the_subscriptions_of_a_session,
        ["v5[MQTT-3.3.1-10]"]
    ),
    case!(retain_handling_2_sends_nothing, ["v5[MQTT-3.3.1-11]"]),
    case!(retain_as_published_0_clears_the_flag, ["v5[MQTT-3.3.1-12]"]),
    case!(retain_as_published_1_keeps_the_flag, ["v5[MQTT-3.3.1-13]"]),
];

fn retained_message_is_stored_and_replaced(lab: &Lab) {
    for qos in 0..=2 {
        let topic = lab.unique("replaced");
        for payload in ["first", "second, and longer", "3rd"] {
            retain(lab, &topic, payload, qos);
            let mut subscriber = lab.broker().v5(&lab.unique("replaced"));
            subscriber.subscribe(&[(&topic, 0)]);
            let delivered = subscriber.recv_publish();
            assert_eq!(
                (delivered.topic.as_str(), delivered.payload.as_slice()),
                (topic.as_str(), payload.as_bytes())
            );
            assert!(
                delivered.retain,
                "a retained message came without RETAIN: {delivered:?}"
            );
            expect_nothing_retained(lab, &mut subscriber);
        }
    }
}

fn retained_message_outlives_its_publisher(lab: &Lab) {
    let topic = lab.unique("outlives");
    let mut publisher = lab.broker().v5(&lab.unique("outlives"));
    publisher.publish(&retained(&topic, b"here to stay", 1));
    publisher.disconnect();
    let mut subscriber = lab.broker().v5(&lab.unique("outlives"));
    subscriber.subscribe(&[(&topic, 1)]);
    assert_eq!(subscriber.recv_publish().payload, b"here to stay");
}

/// The empty message is delivered like any other to those who are subscribed already.
fn retained_message_is_removed_by_an_empty_one(lab: &Lab) {
    for qos in 0..=2 {
        let topic = lab.unique("removed");
        retain(lab, &topic, "to be removed", qos);
        let mut before = lab.broker().v5(&lab.unique("removed"));
        before.subscribe(&[(&topic, RETAIN_AS_PUBLISHED)]);
        assert_eq!(before.recv_publish().payload, b"to be removed");

        retain(lab, &topic, "", qos);
        let emptied = before.recv_publish();
        assert_eq!(
            (emptied.topic.as_str(), emptied.payload.as_slice()),
            (topic.as_str(), &b""[..])
        );
        assert!(
            emptied.retain,
            "Retain As Published holds for the empty message too: {emptied:?}"
        );
        let mut after = lab.broker().v5(&lab.unique("removed"));
        after.subscribe(&[(&topic, 0)]);
        expect_nothing_retained(lab, &mut after);

        retain(lab, &topic, "set again", qos);
        assert_eq!(after.recv_publish().payload, b"set again");
    }
}

fn retained_empty_message_is_never_stored(lab: &Lab) {
    let topic = lab.unique("empty");
    for qos in 0..=2 {
        retain(lab, &topic, "", qos);
        let mut subscriber = lab.broker().v5(&lab.unique("empty"));
        subscriber.subscribe(&[(&topic, 0)]);
        expect_nothing_retained(lab, &mut subscriber);
    }
}

fn retained_message_is_untouched_without_the_flag(lab: &Lab) {
    let topic = lab.unique("untouched");
    retain(lab, &topic, "retained", 1);
    for qos in 0..=2 {
        for payload in ["not retained", ""] {
            let mut publisher = lab.broker().v5(&lab.unique("untouched"));
            publisher.publish(&PublishSpec::new(&topic, payload.as_bytes(), qos));
            publisher.disconnect();
            let mut subscriber = lab.broker().v5(&lab.unique("untouched"));
            subscriber.subscribe(&[(&topic, 0)]);
            assert_eq!(
                subscriber.recv_publish().payload,
                b"retained",
                "after {payload:?} at QoS {qos} with RETAIN 0"
            );
        }
    }
}

fn retained_message_is_not_made_without_the_flag(lab: &Lab) {
    for qos in 0..=2 {
        let topic = lab.unique("unmade");
        let mut publisher = lab.broker().v5(&lab.unique("unmade"));
        publisher.publish(&PublishSpec::new(&topic, b"not retained", qos));
        publisher.disconnect();
        let mut subscriber = lab.broker().v5(&lab.unique("unmade"));
        subscriber.subscribe(&[(&topic, 0)]);
        expect_nothing_retained(lab, &mut subscriber);
    }
}

fn retained_message_is_delivered_at_the_lower_qos(lab: &Lab) {
    for published in 0..=2 {
        let topic = lab.unique("lower-retained");
        retain(lab, &topic, "retained", published);
        for granted in 0..=2 {
            let mut subscriber = lab.broker().v5(&lab.unique("lower-retained"));
            subscriber.subscribe(&[(&topic, granted)]);
            let delivered = subscriber.recv_publish();
            let lower = published.min(granted);
            assert_eq!(
                delivered.qos, lower,
                "published at {published}, granted {granted}: {delivered:?}"
            );
            assert!(!delivered.dup, "{delivered:?}");
            subscriber.ack(&delivered);
        }
    }
}

fn retained_message_keeps_its_properties(lab: &Lab) {
    let topic = lab.unique("retained-properties");
    let mut publisher = lab.broker().v5(&lab.unique("retained-properties"));
    publisher.publish(&PublishSpec {
        props: every_property().to_vec(),
        ..retained(&topic, b"21.5", 1)
    });
    let mut subscriber = lab.broker().v5(&lab.unique("retained-properties"));
    subscriber.subscribe(&[(&topic, 1)]);
    assert_every_property(&subscriber.recv_publish());
}

fn retained_messages_are_found_by_wildcards(lab: &Lab) {
    let base = lab.unique("wild");
    for levels in [
        "", "/a", "/a/x", "/a/x/y", "/b/x", "/b/y", "//x", "beyond", "beyond/x",
    ] {
        retain(lab, &format!("{base}{levels}"), "retained", 1);
    }
    let awaited: [(&str, &[&str]); 8] = [
        ("/#", &["", "/a", "/a/x", "/a/x/y", "/b/x", "/b/y", "//x"]),
        ("/+", &["/a"]),
        ("/+/x", &["/a/x", "/b/x", "//x"]),
        ("/+/#", &["/a", "/a/x", "/a/x/y", "/b/x", "/b/y", "//x"]),
        ("/a/#", &["/a", "/a/x", "/a/x/y"]),
        ("/b/+", &["/b/x", "/b/y"]),
        ("/+/+/y", &["/a/x/y"]),
        ("//+", &["//x"]),
    ];
    for (wildcards, all_levels) in awaited {
        let filter = format!("{base}{wildcards}");
        let mut subscriber = lab.broker().v5(&lab.unique("wild"));
        subscriber.subscribe(&[(&filter, 0)]);
        let matching: BTreeSet<String> = all_levels
            .iter()
            .map(|levels| format!("{base}{levels}"))
            .collect();
        let received: BTreeSet<String> = matching
            .iter()
            .map(|_| subscriber.recv_publish().topic)
            .collect();
        assert_eq!(
            received, matching,
            "received (left) and matching (right) for {filter}"
        );
        expect_nothing_retained(lab, &mut subscriber);
    }
}

/// More retained messages than the client takes at once, and than the broker keeps in flight.
fn retained_messages_keep_to_receive_maximum(lab: &Lab) {
    let (id, base) = (lab.unique("many"), lab.unique("many"));
    let topics: BTreeSet<String> = (0..50).map(|number| format!("{base}/{number}")).collect();
    let mut publisher = lab.broker().v5(&lab.unique("many"));
    for topic in &topics {
        publisher.publish(&retained(topic, b"retained", 1));
    }
    let spec = ConnectSpec {
        props: vec![Prop::U16(RECEIVE_MAXIMUM, 2)],
        ..ConnectSpec::v5(&id)
    };
    let mut subscriber = lab.broker().connect(&spec);
    subscriber.subscribe(&[(&format!("{base}/#"), 1)]);
    let mut received = BTreeSet::new();
    let mut unacknowledged = subscriber.recv_publish();
    for _ in 1..topics.len() {
        let next = subscriber.recv_publish();
        let early = subscriber.ping();
        assert!(
            early.is_empty(),
            "two of two are unacknowledged, and {early:?} came"
        );
        subscriber.ack(&unacknowledged);
        received.insert(unacknowledged.topic);
        unacknowledged = next;
    }
    received.insert(unacknowledged.topic);
    assert_eq!(received, topics, "received (left), retained (right)");
}

fn retained_message_expires(lab: &Lab) {
    let (expires, stays) = (
        lab.unique("retained-expires"),
        lab.unique("retained-expires"),
    );
    let mut publisher = lab.broker().v5(&lab.unique("retained-expires"));
    for (topic, interval) in [(&expires, 1), (&stays, 1000)] {
        let props = vec![Prop::U32(MESSAGE_EXPIRY_INTERVAL, interval)];
        publisher.publish(&PublishSpec {
            props,
            ..retained(topic, b"retained", 1)
        });
    }
    let_seconds_pass(lab.broker(), 2);
    let mut subscriber = lab.broker().v5(&lab.unique("retained-expires"));
    subscriber.subscribe(&[(&expires, 0), (&stays, 0)]);
    assert_eq!(subscriber.recv_publish().topic, stays);
    expect_nothing_retained(lab, &mut subscriber);
}

fn retained_message_has_its_expiry_reduced(lab: &Lab) {
    let topic = lab.unique("retained-expiry");
    let mut publisher = lab.broker().v5(&lab.unique("retained-expiry"));
    let published = Instant::now();
    let props = vec![Prop::U32(MESSAGE_EXPIRY_INTERVAL, 100)];
    publisher.publish(&PublishSpec {
        props,
        ..retained(&topic, b"retained", 1)
    });
    let_seconds_pass(lab.broker(), 2);
    let mut subscriber = lab.broker().v5(&lab.unique("retained-expiry"));
    subscriber.subscribe(&[(&topic, 0)]);
    let left = u64::from(expiry(&subscriber.recv_publish()));
    let earliest = 100 - 1 - published.elapsed().as_secs();
    assert!(
        (earliest..=98).contains(&left),
        "{left} s of 100 are left, {earliest} to 98 were awaited"
    );
}

fn retained_message_where_retain_is_unavailable_is_refused(lab: &Lab) {
    let broker = lab.broker_with("retain_available false");
    for qos in 0..=2 {
        let mut publisher = broker.v5(&lab.unique("unavailable"));
        assert_eq!(
            publisher.connack.prop(RETAIN_AVAILABLE),
            Some(OwnedProp::Byte(RETAIN_AVAILABLE, 0))
        );
        publisher.publish(&PublishSpec::new("a", b"not retained", qos));
        publisher.send_publish(&retained("a", b"retained", qos));
        publisher.expect_disconnect(0x9A);
    }
}

/// The Subscription Identifiers tell which SUBSCRIBE a retained message answers.
fn retain_handling_0_sends_at_every_subscribe(lab: &Lab) {
    let topic = lab.unique("handling-0");
    retain(lab, &topic, "retained", 1);
    let mut subscriber = lab.broker().v5(&lab.unique("handling-0"));
    for identifier in 1..=3 {
        subscribe_identified(&mut subscriber, identifier, &topic, 1);
        expect_retained(&mut subscriber, &topic, identifier);
    }
    expect_nothing_retained(lab, &mut subscriber);
}

fn retain_handling_1_sends_to_a_new_subscription_only(lab: &Lab) {
    let (topic, other) = (lab.unique("handling-1"), lab.unique("handling-1"));
    retain(lab, &topic, "retained", 1);
    let mut subscriber = lab.broker().v5(&lab.unique("handling-1"));
    subscribe_identified(&mut subscriber, 1, &topic, SEND_IF_NEW | 1);
    expect_retained(&mut subscriber, &topic, 1);
    subscribe_identified(&mut subscriber, 2, &topic, SEND_IF_NEW | 1);
    subscribe_identified(&mut subscriber, 3, &other, SEND_IF_NEW | 1);
    expect_nothing_retained(lab, &mut subscriber);
    subscriber.unsubscribe(&[&topic]);
    subscribe_identified(&mut subscriber, 4, &topic, SEND_IF_NEW | 1);
    expect_retained(&mut subscriber, &topic, 4);
    expect_nothing_retained(lab, &mut subscriber);
}

fn retain_handling_1_knows_the_subscriptions_of_a_session(lab: &Lab) {
    let (broker, id, topic) = (
        lab.broker(),
        lab.unique("handling-1"),
        lab.unique("handling-1"),
    );
    retain(lab, &topic, "retained", 1);
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscribe_identified(&mut subscriber, 1, &topic, SEND_IF_NEW | 1);
    expect_retained(&mut subscriber, &topic, 1);
    expect_nothing_retained(lab, &mut subscriber);
    subscriber.disconnect();

    let mut subscriber = broker.connect(&durable(&id, false, &[]));
    assert!(subscriber.session_present(), "the Session was lost");
    subscribe_identified(&mut subscriber, 2, &topic, SEND_IF_NEW | 1);
    expect_nothing_retained(lab, &mut subscriber);
    subscriber.disconnect();

    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscribe_identified(&mut subscriber, 3, &topic, SEND_IF_NEW | 1);
    expect_retained(&mut subscriber, &topic, 3);
}

fn retain_handling_2_sends_nothing(lab: &Lab) {
    let topic = lab.unique("handling-2");
    retain(lab, &topic, "retained", 1);
    let mut subscriber = lab.broker().v5(&lab.unique("handling-2"));
    subscribe_identified(&mut subscriber, 1, &topic, DO_NOT_SEND | 1);
    subscribe_identified(&mut subscriber, 2, &topic, DO_NOT_SEND | 1);
    expect_nothing_retained(lab, &mut subscriber);
    subscribe_identified(&mut subscriber, 3, &topic, 1);
    expect_retained(&mut subscriber, &topic, 3);
    expect_nothing_retained(lab, &mut subscriber);
}

fn retain_as_published_0_clears_the_flag(lab: &Lab) {
    for (published, delivered) in [(true, false), (false, false)] {
        assert_flag_passed_on(lab, 0, published, delivered);
    }
}

fn retain_as_published_1_keeps_the_flag(lab: &Lab) {
    for (published, delivered) in [(true, true), (false, false)] {
        assert_flag_passed_on(lab, RETAIN_AS_PUBLISHED, published, delivered);
    }
}

/// Who is subscribed with these options when a PUBLISH with this RETAIN flag arrives receives it with that one.
#[track_caller]
fn assert_flag_passed_on(lab: &Lab, options: u8, published: bool, delivered: bool) {
    let topic = lab.unique("flag");
    let mut publisher = lab.broker().v5(&lab.unique("flag"));
    for granted in 0..=2 {
        let mut subscriber = lab.broker().v5(&lab.unique("flag"));
        subscriber.subscribe(&[(&topic, DO_NOT_SEND | options | granted)]);
        for qos in 0..=2 {
            publisher.publish(&PublishSpec {
                retain: published,
                ..PublishSpec::new(&topic, b"live", qos)
            });
            let received = subscriber.recv_publish();
            assert_eq!(
                received.retain, delivered,
                "published with RETAIN {published}: {received:?}"
            );
            subscriber.ack(&received);
        }
    }
}

fn retained<'a>(topic: &'a str, payload: &'a [u8], qos: u8) -> PublishSpec<'a> {
    PublishSpec {
        retain: true,
        ..PublishSpec::new(topic, payload, qos)
    }
}

/// A client publishes this with RETAIN 1, and ends when the broker has taken it.
#[track_caller]
fn retain(lab: &Lab, topic: &str, payload: &str, qos: u8) {
    let mut publisher = lab.broker().v5(&lab.unique("retain"));
    publisher.publish(&retained(topic, payload.as_bytes(), qos));
    publisher.disconnect();
}

#[track_caller]
fn subscribe_identified(client: &mut Raw, identifier: u32, filter: &str, options: u8) {
    let suback = client.subscribe_with(
        &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, identifier)],
        &[(filter, options)],
    );
    assert_eq!(suback.codes(5), [options & 0x03], "SUBACK for {filter}");
}

/// The next packet is the retained message of this topic, sent for the Subscription with this identifier.
#[track_caller]
fn expect_retained(client: &mut Raw, topic: &str, identifier: u32) {
    let delivered = client.recv_publish();
    assert_eq!(delivered.topic, topic, "{delivered:?}");
    assert!(
        delivered.retain,
        "a retained message came without RETAIN: {delivered:?}"
    );
    let identifiers = delivered.props(SUBSCRIPTION_IDENTIFIER);
    assert_eq!(
        identifiers,
        [&OwnedProp::Varint(SUBSCRIPTION_IDENTIFIER, identifier)],
        "{delivered:?}"
    );
    client.ack(&delivered);
}

/// No retained message is on its way: other ones that are asked for now come first, and then a live message.
#[track_caller]
fn expect_nothing_retained(lab: &Lab, client: &mut Raw) {
    let mut publisher = lab.broker().v5(&lab.unique("barrier"));
    for _ in 0..2 {
        let topic = lab.unique("barrier");
        publisher.publish(&retained(&topic, b"barrier", 1));
        client.subscribe(&[(&topic, 0)]);
        assert_eq!(
            client.recv_publish().topic,
            topic,
            "a message came that was not to be delivered"
        );
        publisher.publish(&PublishSpec::new(&topic, b"live", 1));
        assert_eq!(
            client.recv_publish().payload,
            b"live",
            "a message came that was not to be delivered"
        );
        client.unsubscribe(&[&topic]);
        publisher.publish(&retained(&topic, b"", 1));
    }
}
