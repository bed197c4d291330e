//! MQTT 3.1, whose protocol name is `MQIsdp`, and the levels by which bridges of 3.x make themselves known.
//!
//! 3.1 has no numbered statements, so these cases cite none. Where it has no rule that 3.1.1 has, or a laxer one, the
//! comment of the case says so.

use super::v311_connect::ILL_FORMED;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, PublishSpec, Raw, WillSpec, Wire, wire};

const BRIDGE: u8 = 0x80;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(v31_connects_under_its_own_name, []),
    case!(v31_name_and_level_belong_together, []),
    case!(v31_client_ids, []),
    case!(v31_empty_client_id_is_refused, []),
    case!(v31_unused_connect_flags_mean_nothing, []),
    case!(v31_user_name_may_be_missing, []),
    case!(v31_carries_messages_at_each_qos, []),
    case!(v31_repeats_are_not_passed_on, []),
    case!(v31_dup_is_allowed_in_requests, []),
    case!(v31_dup_at_qos_0_means_nothing, []),
    case!(v31_invalid_filter_is_answered_by_failure, []),
    case!(v31_malformed_packets_close, []),
    case!(v31_session_is_kept_without_clean_session, []),
    case!(v31_clean_session_discards_the_old_one, []),
    case!(v31_second_connection_ends_the_first, []),
    case!(v31_will_is_published, []),
    case!(v31_retained_messages, []),
    case!(v31_keep_alive_closes, []),
    case!(versions_talk_to_each_other, []),
    case!(bridge_levels_are_accepted, []),
    case!(bridge_level_keeps_the_rules_of_its_version, []),
];

fn v31_connects_under_its_own_name(lab: &Lab) {
    let id = lab.unique("v31");
    let mut raw = lab.broker().raw().speaking(3);
    raw.send(&connect_of("MQIsdp", 3, 0x02, &[&wire::string(&id)]));
    raw.expect_hex("20 02 00 00");
    raw.send_hex("c0 00");
    raw.expect_hex("d0 00");
}

/// 3.1 has the one name, 3.1.1 and 5.0 the other.
fn v31_name_and_level_belong_together(lab: &Lab) {
    let id = wire::string(&lab.unique("v31"));
    for (name, level) in [("MQIsdp", 4), ("MQIsdp", 5), ("MQTT", 3)] {
        let mut raw = lab.broker().raw().speaking(3);
        raw.send(&connect_of(name, level, 0x02, &[&id]));
        let answer: Vec<String> = raw.try_recv_closed().iter().map(Wire::to_hex).collect();
        let refused = answer == ["20 02 00 01"] || answer == ["20 03 00 84 00"];
        assert!(refused, "{name} at level {level} is answered by {answer:?}");
    }
}

/// 3.1 allows 23 characters and lets a server refuse more. Clients in the field have more.
fn v31_client_ids(lab: &Lab) {
    let id = lab.unique("v31");
    for end in ["", "-and more than 23 characters", "é鍵"] {
        assert!(lab.broker().v31(&format!("{id}{end}")).ping().is_empty());
    }
}

fn v31_empty_client_id_is_refused(lab: &Lab) {
    for clean in [true, false] {
        let mut raw = lab.broker().raw().speaking(3);
        raw.send(
            &ConnectSpec {
                clean,
                ..ConnectSpec::v31("")
            }
            .to_bytes(),
        );
        raw.expect_hex("20 02 00 02");
        raw.expect_closed();
    }
}

/// The bit that 3.1 calls unused, and bits of a Will that is not there: no rule forbids them.
fn v31_unused_connect_flags_mean_nothing(lab: &Lab) {
    let id = wire::string(&lab.unique("v31"));
    for flags in [0x03, 0x0A, 0x12, 0x22, 0x33] {
        let mut raw = lab.broker().raw().speaking(3);
        raw.send(&connect_of("MQIsdp", 3, flags, &[&id]));
        raw.expect_hex("20 02 00 00");
    }
}

/// 3.1 allows the fields to be left out although their flags are set.
fn v31_user_name_may_be_missing(lab: &Lab) {
    let (id, user) = (wire::string(&lab.unique("v31")), wire::string("user"));
    let password = wire::binary(b"secret");
    let forms: [(u8, &[&[u8]]); 5] = [
        (0x82, &[&id]),
        (0xC2, &[&id]),
        (0xC2, &[&id, &user]),
        (0xC2, &[&id, &user, &password]),
        (0x82, &[&id, &user]),
    ];
    for (flags, fields) in forms {
        let mut raw = lab.broker().raw().speaking(3);
        raw.send(&connect_of("MQIsdp", 3, flags, fields));
        raw.expect_hex("20 02 00 00");
    }
}

fn v31_carries_messages_at_each_qos(lab: &Lab) {
    let topic = lab.unique("v31");
    let mut publisher = lab.broker().v31(&lab.unique("p"));
    let mut subscriber = lab.broker().v31(&lab.unique("s"));
    for granted in 0..=2_u8 {
        assert_eq!(subscriber.subscribe(&[(&topic, granted)]), [granted]);
        for published in 0..=2 {
            publisher.publish(&PublishSpec::new(&topic, b"x", published));
            let delivered = subscriber.recv_publish();
            subscriber.ack(&delivered);
            assert_eq!(
                (delivered.qos, delivered.dup, delivered.retain),
                (granted.min(published), false, false)
            );
        }
    }
    subscriber.unsubscribe(&[&topic]);
    publisher.publish(&PublishSpec::new(&topic, b"x", 1));
    assert!(subscriber.ping().is_empty());
}

fn v31_repeats_are_not_passed_on(lab: &Lab) {
    let topic = lab.unique("v31");
    let mut publisher = lab.broker().v31(&lab.unique("p"));
    let mut subscriber = lab.broker().v31(&lab.unique("s"));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let publish = PublishSpec {
        packet_id: 3,
        ..PublishSpec::new(&topic, b"once", 2)
    };
    publisher.send_publish(&publish);
    publisher.expect_hex("50 02 00 03");
    publisher.publish(&PublishSpec {
        dup: true,
        ..publish.clone()
    });
    publisher.publish(&PublishSpec {
        payload: b"anew",
        ..publish
    });
    for payload in [b"once", b"anew"] {
        let delivered = subscriber.recv_publish();
        assert_eq!(delivered.payload, payload);
        subscriber.ack(&delivered);
    }
}

/// SUBSCRIBE, UNSUBSCRIBE and PUBREL are requests at QoS 1, which a client may repeat with DUP.
fn v31_dup_is_allowed_in_requests(lab: &Lab) {
    let mut raw = lab.broker().v31(&lab.unique("v31"));
    let topic = wire::string(&lab.unique("v31"));
    let body = [vec![0, 1], topic.clone()].concat();
    raw.send(&wire::packet(0x8A, &[body.as_slice(), &[1]].concat()));
    raw.expect_hex("90 03 00 01 01");
    raw.send(&wire::packet(0xAA, &body));
    raw.expect_hex("b0 02 00 01");
    raw.send(&wire::packet(0x34, &[topic.as_slice(), &[0, 7]].concat()));
    raw.expect_hex("50 02 00 07");
    raw.send_hex("6a 02 00 07");
    raw.expect_hex("70 02 00 07");
}

fn v31_dup_at_qos_0_means_nothing(lab: &Lab) {
    let topic = lab.unique("v31");
    let mut raw = lab.broker().v31(&lab.unique("v31"));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    raw.send_publish(&PublishSpec {
        dup: true,
        ..PublishSpec::new(&topic, b"x", 0)
    });
    let delivered = raw.recv_publish();
    assert_eq!((delivered.qos, delivered.dup), (0, false));
}

/// 3.1 has no code for a failure; 0x80 is what 3.1.1 made of it.
fn v31_invalid_filter_is_answered_by_failure(lab: &Lab) {
    let good = lab.unique("v31");
    let mut raw = lab.broker().v31(&lab.unique("v31"));
    for bad in ["a#", "#/a", "a+/b", ""] {
        assert_eq!(
            raw.subscribe(&[(&good, 1), (bad, 2), (&good, 2)]),
            [1, 0x80, 2],
            "{bad:?}"
        );
    }
}

fn v31_malformed_packets_close(lab: &Lab) {
    let mut forms: Vec<Vec<u8>> = [
        "00 00",                // packet type 0
        "f0 00",                // packet type 15
        "20 02 00 00",          // CONNACK of a client
        "90 03 00 01 00",       // SUBACK of a client
        "d0 00",                // PINGRESP of a client
        "36 05 00 01 61 00 01", // QoS 3
        "30 03 00 01 23",       // a wildcard in a Topic Name
        "30 02 00 00",          // an empty Topic Name
        "32 05 00 01 61 00 00", // Packet Identifier 0
        "82 02 00 01",          // SUBSCRIBE of nothing
        "a2 02 00 01",          // UNSUBSCRIBE of nothing
        "80 06 00 01 00 01 61 00",
        "82 06 00 01 00 01 61 03",
        "40 01 00",
        "c0 01 00",
        "c0 80 80 80 80 01",
    ]
    .map(wire::hex)
    .to_vec();
    for bytes in ILL_FORMED {
        forms.push(wire::packet(0x30, &wire::binary(bytes)));
    }
    for form in forms {
        let mut raw = lab.broker().v31(&lab.unique("v31"));
        raw.send(&form);
        raw.expect_closed();
    }
}

fn v31_session_is_kept_without_clean_session(lab: &Lab) {
    let (id, topic) = (lab.unique("v31"), lab.unique("v31"));
    let connect = ConnectSpec {
        clean: false,
        ..ConnectSpec::v31(&id)
    };
    let mut raw = lab.broker().connect(&connect);
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    raw.disconnect();
    let mut publisher = lab.broker().v31(&lab.unique("p"));
    publisher.publish(&PublishSpec::new(&topic, b"one", 1));
    publisher.publish(&PublishSpec::new(&topic, b"two", 2));
    let mut raw = lab.broker().connect(&connect);
    let open = [raw.recv_publish(), raw.recv_publish()];
    assert_eq!(
        open.each_ref()
            .map(|delivered| delivered.payload.as_slice()),
        [b"one", b"two"]
    );
    raw.disconnect();
    let mut raw = lab.broker().connect(&connect);
    for first in &open {
        let again = raw.recv_publish();
        assert_eq!(
            (again.packet_id, again.dup, &again.payload),
            (first.packet_id, true, &first.payload)
        );
        raw.ack(&again);
    }
    assert!(raw.ping().is_empty());
}

fn v31_clean_session_discards_the_old_one(lab: &Lab) {
    let (id, topic) = (lab.unique("v31"), lab.unique("v31"));
    let mut raw = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..ConnectSpec::v31(&id)
    });
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.disconnect();
    let mut raw = lab.broker().v31(&id);
    lab.broker()
        .v31(&lab.unique("p"))
        .publish(&PublishSpec::new(&topic, b"x", 1));
    assert!(raw.ping().is_empty());
}

fn v31_second_connection_ends_the_first(lab: &Lab) {
    let id = lab.unique("v31");
    let mut older = lab.broker().v31(&id);
    let mut newer = lab.broker().v31(&id);
    older.expect_closed();
    assert!(newer.ping().is_empty());
}

fn v31_will_is_published(lab: &Lab) {
    let (id, topic) = (lab.unique("v31"), lab.unique("v31"));
    let mut watcher = lab.broker().v31(&lab.unique("s"));
    assert_eq!(watcher.subscribe(&[(&topic, 1)]), [1]);
    let will = Some(WillSpec {
        qos: 1,
        ..WillSpec::new(&topic, b"gone")
    });
    let connect = ConnectSpec {
        will,
        ..ConnectSpec::v31(&id)
    };
    lab.broker().connect(&connect).disconnect();
    assert!(
        watcher.ping().is_empty(),
        "a Will is published after DISCONNECT"
    );
    lab.broker().connect(&connect).drop_connection();
    assert_eq!(watcher.recv_publish().payload, b"gone");
}

fn v31_retained_messages(lab: &Lab) {
    let topic = lab.unique("v31");
    let mut publisher = lab.broker().v31(&lab.unique("p"));
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"kept", 1)
    });
    assert!(publisher.ping().is_empty());
    let mut subscriber = lab.broker().v31(&lab.unique("s"));
    assert_eq!(subscriber.subscribe(&[(&topic, 1)]), [1]);
    let kept = subscriber.recv_publish();
    assert_eq!(
        (kept.retain, kept.payload.as_slice()),
        (true, b"kept".as_slice())
    );
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"", 1)
    });
    let cleared = subscriber.recv_publish();
    assert_eq!(
        (cleared.retain, cleared.payload.as_slice()),
        (false, b"".as_slice())
    );
    let mut late = lab.broker().v31(&lab.unique("s"));
    assert_eq!(late.subscribe(&[(&topic, 1)]), [1]);
    assert!(late.ping().is_empty());
}

fn v31_keep_alive_closes(lab: &Lab) {
    let id = lab.unique("v31");
    let mut raw = lab.broker().connect(&ConnectSpec {
        keep_alive: 1,
        ..ConnectSpec::v31(&id)
    });
    raw.expect_closed();
}

/// A message goes from each version to each other one.
fn versions_talk_to_each_other(lab: &Lab) {
    let topic = lab.unique("versions");
    let connect = |stem: &str| -> Vec<Raw> {
        let broker = lab.broker();
        vec![
            broker.v31(&lab.unique(stem)),
            broker.v311(&lab.unique(stem)),
            broker.v5(&lab.unique(stem)),
        ]
    };
    let (mut publishers, mut subscribers) = (connect("p"), connect("s"));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    }
    for publisher in &mut publishers {
        for qos in 0..=2 {
            publisher.publish(&PublishSpec::new(&topic, b"x", qos));
            for subscriber in &mut subscribers {
                let delivered = subscriber.recv_publish();
                subscriber.ack(&delivered);
                assert_eq!(
                    (
                        &delivered.topic,
                        delivered.qos,
                        delivered.payload.as_slice()
                    ),
                    (&topic, qos, b"x".as_slice())
                );
            }
        }
    }
}

/// What bridges send that Mosquitto calls `try_private`.
fn bridge_levels_are_accepted(lab: &Lab) {
    let topic = lab.unique("bridge");
    let mut client = lab.broker().v5(&lab.unique("client"));
    assert_eq!(client.subscribe(&[(&topic, 2)]), [2]);
    for level in [3, 4] {
        let mut bridge = bridge(lab, lab.broker(), level);
        assert_eq!(bridge.connack.to_hex(), "20 02 00 00");
        for qos in 0..=2 {
            bridge.publish(&PublishSpec::new(&topic, b"out", qos));
            let delivered = client.recv_publish();
            assert_eq!(
                (delivered.qos, delivered.payload.as_slice()),
                (qos, b"out".as_slice())
            );
            client.ack(&delivered);
        }
        let inward = lab.unique("bridge");
        assert_eq!(bridge.subscribe(&[(&inward, 2)]), [2]);
        client.publish(&PublishSpec::new(&inward, b"in", 2));
        let delivered = bridge.recv_publish();
        assert_eq!(
            (delivered.qos, delivered.payload.as_slice()),
            (2, b"in".as_slice())
        );
        bridge.ack(&delivered);
    }
}

fn bridge_level_keeps_the_rules_of_its_version(lab: &Lab) {
    for level in [3, 4] {
        let mut bridge = bridge(lab, lab.broker(), level);
        assert_eq!(bridge.subscribe(&[("a#", 1)]), [0x80]);
        bridge.send_hex("d0 00");
        bridge.expect_closed();
    }
    // DUP at QoS 0 is what 3.1 allows and 3.1.1 does not.
    let topic = lab.unique("bridge");
    let dup = PublishSpec {
        dup: true,
        ..PublishSpec::new(&topic, b"", 0)
    }
    .to_bytes(4);
    let mut older = bridge(lab, lab.broker(), 3);
    older.send(&dup);
    assert!(older.ping().is_empty());
    let mut newer = bridge(lab, lab.broker(), 4);
    newer.send(&dup);
    newer.expect_closed();
}

#[track_caller]
fn bridge(lab: &Lab, broker: &Broker, level: u8) -> Raw {
    let id = lab.unique("bridge");
    broker.connect(&ConnectSpec {
        level: level | BRIDGE,
        ..ConnectSpec::v311(&id)
    })
}

/// A CONNECT of 3.x with Keep Alive 0, put together of these parts: right or wrong.
fn connect_of(name: &str, level: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = wire::string(name);
    body.extend([level, flags, 0, 0]);
    body.extend(fields.concat());
    wire::packet(0x10, &body)
}
