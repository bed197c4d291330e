//! MQTT 3.1.1: Sessions, takeover and redelivery: sections 3.1.2.4, 3.1.4, 4.1 and 4.4. Wills stand in `v311_will`.

use super::v311_connect::kept;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Delivered, Lab, PublishSpec, Raw, wire};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_session_is_continued,
        [
            "v311[MQTT-3.1.2-4]",
            "v311[MQTT-3.2.2-2]",
            "v311[MQTT-3.2.2-3]",
            "v311[MQTT-4.1.0-1]"
        ]
    ),
    case!(
        v311_session_stores_messages_while_its_client_is_away,
        [
            "v311[MQTT-3.1.2-5]",
            "v311[MQTT-4.5.0-1]",
            "v311[MQTT-3.2.0-1]",
            "v311[MQTT-4.6.0-6]"
        ]
    ),
    case!(
        v311_session_survives_a_broken_connection,
        ["v311[MQTT-3.1.2-4]", "v311[MQTT-4.1.0-1]"]
    ),
    case!(
        v311_clean_session_discards_the_old_one,
        [
            "v311[MQTT-3.1.2-6]",
            "v311[MQTT-3.1.4-3]",
            "v311[MQTT-3.2.2-1]"
        ]
    ),
    case!(
        v311_clean_session_discards_qos_2_state,
        ["v311[MQTT-3.1.2-6]", "v311[MQTT-3.1.4-3]"]
    ),
    case!(
        v311_clean_session_ends_with_its_connection,
        ["v311[MQTT-3.1.2-6]", "v311[MQTT-3.2.2-3]"]
    ),
    case!(
        v311_session_lasts_as_long_as_its_connection,
        ["v311[MQTT-4.1.0-2]"]
    ),
    case!(
        v311_refused_connect_leaves_the_session,
        ["v311[MQTT-3.1.4-3]", "v311[MQTT-3.2.2-4]"]
    ),
    case!(
        v311_sessions_belong_to_exact_client_ids,
        ["v311[MQTT-3.1.3-2]"]
    ),
    case!(
        v311_second_connection_ends_the_first,
        ["v311[MQTT-3.1.4-2]", "v311[MQTT-3.1.3-2]"]
    ),
    case!(
        v311_second_connection_continues_the_session,
        [
            "v311[MQTT-3.1.4-2]",
            "v311[MQTT-3.1.4-3]",
            "v311[MQTT-4.4.0-1]"
        ]
    ),
    case!(
        v311_open_deliveries_are_repeated_on_a_new_connection,
        [
            "v311[MQTT-4.4.0-1]",
            "v311[MQTT-3.3.1-1]",
            "v311[MQTT-4.3.2-1]",
            "v311[MQTT-4.3.3-1]"
        ]
    ),
    case!(
        v311_finished_deliveries_are_not_repeated,
        [
            "v311[MQTT-4.3.2-1]",
            "v311[MQTT-4.3.3-1]",
            "v311[MQTT-2.3.1-4]"
        ]
    ),
    case!(
        v311_new_messages_after_repeats_keep_their_order,
        ["v311[MQTT-4.6.0-6]", "v311[MQTT-2.3.1-4]"]
    ),
    case!(
        v311_publisher_repeats_on_a_new_connection,
        [
            "v311[MQTT-4.3.3-2]",
            "v311[MQTT-4.1.0-1]",
            "v311[MQTT-3.1.2-4]",
            "v311[MQTT-2.3.1-3]"
        ]
    ),
    case!(
        v311_pubrel_on_a_new_connection_ends_the_exchange,
        ["v311[MQTT-4.3.3-2]", "v311[MQTT-4.1.0-1]"]
    ),
    case!(
        v311_deliveries_outlive_their_subscription,
        ["v311[MQTT-3.10.4-3]", "v311[MQTT-4.4.0-1]"]
    ),
    case!(
        v311_messages_join_every_session_with_a_subscription,
        ["v311[MQTT-4.5.0-1]", "v311[MQTT-3.1.2-5]"]
    ),
];

fn v311_session_is_continued(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.connack.to_hex(), "20 02 00 00");
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    for _ in 0..3 {
        raw.disconnect();
        raw = lab.broker().connect(&kept(&id));
        assert_eq!(raw.connack.to_hex(), "20 02 01 00");
        publisher(lab).publish(&PublishSpec::new(&topic, b"x", 1));
        let delivered = raw.recv_publish();
        assert_eq!(
            (delivered.dup, delivered.payload.as_slice()),
            (false, b"x".as_slice())
        );
        raw.ack(&delivered);
    }
}

fn v311_session_stores_messages_while_its_client_is_away(lab: &Lab) {
    let (id, topic) = (lab.unique("away"), lab.unique("away"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    raw.disconnect();
    let mut publisher = publisher(lab);
    for number in 0..30_u8 {
        publisher.publish(&PublishSpec::new(&topic, &[number], 1 + number % 2));
    }
    // `connect` reads CONNACK first.
    let mut raw = lab.broker().connect(&kept(&id));
    assert!(raw.session_present());
    for number in 0..30_u8 {
        let delivered = raw.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.qos),
            ([number].as_slice(), 1 + number % 2)
        );
        assert_eq!((delivered.dup, delivered.retain), (false, false));
        raw.ack(&delivered);
    }
    publisher.publish(&PublishSpec::new(&topic, b"marker", 2));
    assert_eq!(raw.recv_publish().payload, b"marker");
}

fn v311_session_survives_a_broken_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("broken"), lab.unique("broken"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.drop_connection();
    publisher(lab).publish(&PublishSpec::new(&topic, b"x", 1));
    let mut raw = lab.broker().connect(&kept(&id));
    assert!(raw.session_present());
    assert_eq!(raw.recv_publish().payload, b"x");
}

fn v311_clean_session_discards_the_old_one(lab: &Lab) {
    let (id, topic, other) = (
        lab.unique("clean"),
        lab.unique("clean"),
        lab.unique("clean"),
    );
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.disconnect();
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"stored", 1));
    let mut raw = lab.broker().v311(&id);
    assert_eq!(raw.connack.to_hex(), "20 02 00 00");
    assert_eq!(raw.subscribe(&[(&other, 1)]), [1]);
    publisher.publish(&PublishSpec::new(&topic, b"subscribed before", 1));
    publisher.publish(&PublishSpec::new(&other, b"subscribed now", 1));
    assert_eq!(raw.recv_publish().payload, b"subscribed now");
    raw.disconnect();
    // It is gone for good.
    let mut raw = lab.broker().connect(&kept(&id));
    assert!(!raw.session_present());
    assert!(raw.ping().is_empty());
}

/// An identifier that the old Session held is free in the new one.
fn v311_clean_session_discards_qos_2_state(lab: &Lab) {
    let (id, mut pair) = (lab.unique("clean"), Pair::new(lab, lab.broker(), 2));
    let mut raw = lab.broker().connect(&kept(&id));
    let publish = PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&pair.topic, b"old", 2)
    };
    raw.send_publish(&publish);
    raw.expect_hex("50 02 00 05");
    raw.disconnect();
    let mut raw = lab.broker().v311(&id);
    raw.publish(&PublishSpec {
        payload: b"new",
        ..publish
    });
    pair.expect(b"old");
    pair.expect(b"new");
}

fn v311_clean_session_ends_with_its_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("clean"), lab.unique("clean"));
    let mut raw = lab.broker().v311(&id);
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.disconnect();
    publisher(lab).publish(&PublishSpec::new(&topic, b"x", 1));
    let mut raw = lab.broker().connect(&kept(&id));
    assert!(!raw.session_present());
    assert!(raw.ping().is_empty());
}

/// Whatever others do, state of a living connection stays: here an exchange of QoS 2 each way, half done.
fn v311_session_lasts_as_long_as_its_connection(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    pair.publish(b"x", 2);
    let open = pair.subscriber.recv_publish();
    let nobodys = lab.unique("lasting");
    let publish = PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&nobodys, b"x", 2)
    };
    pair.subscriber.send_publish(&publish);
    pair.subscriber.expect_hex("50 02 00 05");
    for _ in 0..20 {
        lab.broker().v311(&lab.unique("passer-by")).disconnect();
        assert!(pair.subscriber.ping().is_empty());
    }
    pair.subscriber.ack(&open);
    pair.subscriber.send_hex("62 02 00 05");
    pair.subscriber.expect_hex("70 02 00 05");
    pair.expect_nothing(2);
}

/// A CONNECT that is not accepted neither takes over nor wipes a Session.
fn v311_refused_connect_leaves_the_session(lab: &Lab) {
    let (id, topic) = (lab.unique("refused"), lab.unique("refused"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    let whole = ConnectSpec::v311(&id).to_bytes();
    let body = [whole.get(2..).unwrap_or_default(), b"behind"].concat();
    let mut refused = lab.broker().raw().speaking(4);
    refused.send(&wire::packet(0x10, &body));
    refused.expect_closed();
    assert!(
        raw.ping().is_empty(),
        "a malformed CONNECT ended a connection"
    );
    raw.disconnect();
    assert!(lab.broker().connect(&kept(&id)).session_present());
}

fn v311_sessions_belong_to_exact_client_ids(lab: &Lab) {
    let id = lab.unique("Exact");
    lab.broker().connect(&kept(&id)).disconnect();
    for other in [
        id.to_lowercase(),
        id.to_uppercase(),
        format!("{id} "),
        format!(" {id}"),
        format!("{id}0"),
    ] {
        assert!(
            !has_session(lab.broker(), &other),
            "{other:?} found the Session of {id:?}"
        );
    }
    assert!(has_session(lab.broker(), &id));
}

fn v311_second_connection_ends_the_first(lab: &Lab) {
    for clean in [true, false] {
        let id = lab.unique("takeover");
        let connect = ConnectSpec {
            clean,
            ..ConnectSpec::v311(&id)
        };
        let mut last = lab.broker().connect(&connect);
        for _ in 0..5 {
            let mut older = std::mem::replace(&mut last, lab.broker().connect(&connect));
            older.expect_closed();
            assert_eq!(last.session_present(), !clean);
        }
        assert!(last.ping().is_empty());
    }
}

fn v311_second_connection_continues_the_session(lab: &Lab) {
    let (id, topic) = (lab.unique("takeover"), lab.unique("takeover"));
    let mut older = lab.broker().connect(&kept(&id));
    assert_eq!(older.subscribe(&[(&topic, 1)]), [1]);
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"open", 1));
    let open = older.recv_publish();
    let mut newer = lab.broker().connect(&kept(&id));
    older.expect_closed();
    assert!(newer.session_present());
    let again = newer.recv_publish();
    assert_eq!(
        (again.packet_id, again.dup, again.payload.as_slice()),
        (open.packet_id, true, b"open".as_slice())
    );
    newer.ack(&again);
    publisher.publish(&PublishSpec::new(&topic, b"new", 1));
    assert_eq!(newer.recv_publish().payload, b"new");
}

/// PUBLISH packets in their first order with DUP 1; what was at PUBREL is repeated by PUBREL alone.
fn v311_open_deliveries_are_repeated_on_a_new_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("open"), lab.unique("open"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = publisher(lab);
    for (payload, qos) in [(b"a", 1), (b"b", 2), (b"c", 2), (b"d", 1)] {
        publisher.publish(&PublishSpec::new(&topic, payload, qos));
    }
    let open: Vec<_> = (0..4).map(|_| raw.recv_publish()).collect();
    let [a, b, c, d] = open.as_slice() else {
        panic!("awaited four messages, got {open:?}");
    };
    assert!(open.iter().all(|delivered| !delivered.dup), "{open:?}");
    raw.send(&wire::ack(0x50, 4, c.packet_id, None));
    let pubrel = wire::ack(0x62, 4, c.packet_id, None);
    raw.expect_hex(&wire::to_hex(&pubrel));
    for _ in 0..2 {
        raw.disconnect();
        raw = lab.broker().connect(&kept(&id));
        assert!(raw.session_present());
        let repeated: Vec<_> = (0..4).map(|_| raw.recv()).collect();
        let (publishes, others): (Vec<_>, Vec<_>) = repeated
            .iter()
            .partition(|packet| packet.packet_type() == 3);
        let awaited: Vec<_> = [a, b, d]
            .iter()
            .map(|first| repeat(first, &topic))
            .collect();
        assert_eq!(
            publishes
                .iter()
                .map(|packet| packet.to_hex())
                .collect::<Vec<_>>(),
            awaited
        );
        assert_eq!(
            others
                .iter()
                .map(|packet| packet.to_hex())
                .collect::<Vec<_>>(),
            [wire::to_hex(&pubrel)]
        );
    }
    raw.send(&wire::ack(0x70, 4, c.packet_id, None));
    for delivered in [a, b, d] {
        raw.ack(delivered);
    }
    assert!(raw.ping().is_empty());
    raw.disconnect();
    assert!(
        lab.broker().connect(&kept(&id)).ping().is_empty(),
        "what was acknowledged is repeated"
    );
}

fn v311_finished_deliveries_are_not_repeated(lab: &Lab) {
    let (id, topic) = (lab.unique("done"), lab.unique("done"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = publisher(lab);
    for turn in 0..3 {
        for qos in 1..=2 {
            publisher.publish(&PublishSpec::new(&topic, b"x", qos));
            let delivered = raw.recv_publish();
            assert!(!delivered.dup, "{delivered:?} in turn {turn}");
            raw.ack(&delivered);
        }
        assert!(raw.ping().is_empty());
        raw.disconnect();
        raw = lab.broker().connect(&kept(&id));
    }
    publisher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(raw.recv_publish().payload, b"marker");
}

fn v311_new_messages_after_repeats_keep_their_order(lab: &Lab) {
    let (id, topic) = (lab.unique("repeats"), lab.unique("repeats"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    let mut publisher = publisher(lab);
    for number in 0..10_u8 {
        publisher.publish(&PublishSpec::new(&topic, &[number], 1));
    }
    for number in 0..10_u8 {
        assert_eq!(raw.recv_publish().payload, [number]);
    }
    raw.disconnect();
    for number in 10..40_u8 {
        publisher.publish(&PublishSpec::new(&topic, &[number], 1));
    }
    let mut raw = lab.broker().connect(&kept(&id));
    for number in 0..40_u8 {
        let delivered = raw.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.dup),
            ([number].as_slice(), number < 10)
        );
        raw.ack(&delivered);
    }
}

/// The PUBREC got lost with the connection: the repeat is answered, and not passed on.
fn v311_publisher_repeats_on_a_new_connection(lab: &Lab) {
    let (id, mut pair) = (lab.unique("again"), Pair::new(lab, lab.broker(), 2));
    let topic = pair.topic.clone();
    let publish = PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&topic, b"once", 2)
    };
    let mut raw = lab.broker().connect(&kept(&id));
    raw.send_publish(&publish);
    raw.expect_hex("50 02 00 05");
    raw.disconnect();
    let mut raw = lab.broker().connect(&kept(&id));
    assert!(raw.session_present());
    raw.publish(&PublishSpec {
        dup: true,
        ..publish.clone()
    });
    raw.publish(&PublishSpec {
        payload: b"anew",
        ..publish
    });
    pair.expect(b"once");
    pair.expect(b"anew");
    pair.expect_nothing(2);
}

fn v311_pubrel_on_a_new_connection_ends_the_exchange(lab: &Lab) {
    let (id, mut pair) = (lab.unique("again"), Pair::new(lab, lab.broker(), 2));
    let topic = pair.topic.clone();
    let publish = PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&topic, b"once", 2)
    };
    let mut raw = lab.broker().connect(&kept(&id));
    raw.send_publish(&publish);
    raw.expect_hex("50 02 00 05");
    raw.disconnect();
    let mut raw = lab.broker().connect(&kept(&id));
    for _ in 0..2 {
        raw.send_hex("62 02 00 05");
        raw.expect_hex("70 02 00 05");
    }
    raw.publish(&PublishSpec {
        payload: b"anew",
        ..publish
    });
    pair.expect(b"once");
    pair.expect(b"anew");
}

fn v311_deliveries_outlive_their_subscription(lab: &Lab) {
    let (id, topic) = (lab.unique("outlive"), lab.unique("outlive"));
    let mut raw = lab.broker().connect(&kept(&id));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = publisher(lab);
    for qos in 1..=2 {
        publisher.publish(&PublishSpec::new(&topic, b"begun", qos));
    }
    let open = [raw.recv_publish(), raw.recv_publish()];
    raw.unsubscribe(&[&topic]);
    raw.disconnect();
    publisher.publish(&PublishSpec::new(&topic, b"after", 1));
    let mut raw = lab.broker().connect(&kept(&id));
    for first in &open {
        let again = raw.recv_publish();
        assert_eq!(
            (again.packet_id, again.dup, again.payload.as_slice()),
            (first.packet_id, true, b"begun".as_slice())
        );
        raw.ack(&again);
    }
    assert!(raw.ping().is_empty());
}

fn v311_messages_join_every_session_with_a_subscription(lab: &Lab) {
    let topic = lab.unique("join");
    let ids: Vec<String> = (0..4).map(|_| lab.unique("join")).collect();
    for id in &ids {
        let mut raw = lab.broker().connect(&kept(id));
        assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
        raw.disconnect();
    }
    let mut present: Vec<Raw> = (0..4)
        .map(|_| lab.broker().v311(&lab.unique("join")))
        .collect();
    for raw in &mut present {
        assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    }
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"one", 1));
    publisher.publish(&PublishSpec::new(&topic, b"two", 2));
    let returned = ids.iter().map(|id| lab.broker().connect(&kept(id)));
    for mut raw in present.into_iter().chain(returned) {
        for payload in [b"one", b"two"] {
            let delivered = raw.recv_publish();
            assert_eq!(delivered.payload, payload);
            raw.ack(&delivered);
        }
        assert!(raw.ping().is_empty());
    }
}

fn publisher(lab: &Lab) -> Raw {
    lab.broker().v311(&lab.unique("p"))
}

/// Whether there is a Session; asking makes one.
#[track_caller]
fn has_session(broker: &Broker, client_id: &str) -> bool {
    let raw = broker.connect(&kept(client_id));
    let present = raw.session_present();
    raw.disconnect();
    present
}

/// The PUBLISH that repeats this delivery.
fn repeat(first: &Delivered, topic: &str) -> String {
    let again = PublishSpec {
        dup: true,
        packet_id: first.packet_id,
        ..PublishSpec::new(topic, &first.payload, first.qos)
    };
    wire::to_hex(&again.to_bytes(4))
}
