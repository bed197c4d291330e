//! MQTT 3.1.1: what ends a connection, and what keeps it: packet types and flags, Keep Alive, PINGREQ, DISCONNECT.
//!
//! A server of 3.1.1 has no DISCONNECT: every violation is answered by a close alone.

use std::time::{Duration, Instant};

use super::v311_connect::{assert_closes, assert_refused_in_silence};
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, PublishSpec, Raw, WillSpec, wire};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_first_packet_is_connect,
        ["v311[MQTT-3.1.0-1]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(v311_second_connect_closes, ["v311[MQTT-3.1.0-2]"]),
    case!(
        v311_silence_of_one_and_a_half_keep_alives_closes,
        ["v311[MQTT-3.1.2-24]", "v311[MQTT-3.1.2-8]"]
    ),
    case!(
        v311_every_packet_counts_for_keep_alive,
        ["v311[MQTT-3.1.2-23]", "v311[MQTT-3.1.2-24]"]
    ),
    case!(v311_keep_alive_0_never_closes, ["v311[MQTT-3.1.2-24]"]),
    case!(v311_pingreq_is_answered, ["v311[MQTT-3.12.4-1]"]),
    case!(v311_pingreq_with_a_body_closes, ["v311[MQTT-4.8.0-1]"]),
    case!(
        v311_disconnect_with_reserved_bits_closes,
        [
            "v311[MQTT-3.14.1-1]",
            "v311[MQTT-2.2.2-2]",
            "v311[MQTT-3.1.2-8]"
        ]
    ),
    case!(
        v311_nothing_behind_disconnect_is_read,
        ["v311[MQTT-3.14.4-1]", "v311[MQTT-3.14.4-2]"]
    ),
    case!(
        v311_wrong_fixed_header_flags_close,
        [
            "v311[MQTT-2.2.2-1]",
            "v311[MQTT-2.2.2-2]",
            "v311[MQTT-3.6.1-1]",
            "v311[MQTT-3.8.1-1]",
            "v311[MQTT-3.10.1-1]",
            "v311[MQTT-4.8.0-1]"
        ]
    ),
    case!(v311_packets_of_the_server_close, ["v311[MQTT-4.8.0-1]"]),
];

fn v311_first_packet_is_connect(lab: &Lab) {
    for form in [
        "20 02 00 00",             // CONNACK
        "30 04 00 01 61 78",       // PUBLISH
        "32 06 00 01 61 00 01 78", // PUBLISH at QoS 1
        "34 06 00 01 61 00 01 78", // PUBLISH at QoS 2
        "40 02 00 01",             // PUBACK
        "50 02 00 01",             // PUBREC
        "62 02 00 01",             // PUBREL
        "70 02 00 01",             // PUBCOMP
        "82 06 00 01 00 01 61 00", // SUBSCRIBE
        "90 03 00 01 00",          // SUBACK
        "a2 05 00 01 00 01 61",    // UNSUBSCRIBE
        "b0 02 00 01",             // UNSUBACK
        "c0 00",                   // PINGREQ
        "d0 00",                   // PINGRESP
        "e0 00",                   // DISCONNECT
        "f0 00",                   // reserved
        "00 00",                   // reserved
    ] {
        assert_refused_in_silence(lab.broker(), &wire::hex(form));
    }
}

fn v311_second_connect_closes(lab: &Lab) {
    let (id, other) = (lab.unique("twice"), lab.unique("twice-bystander"));
    let mut bystander = lab.broker().v311(&other);
    for named in [&id, &other] {
        let mut raw = lab.broker().v311(&id);
        raw.send(&ConnectSpec::v311(named).to_bytes());
        raw.expect_closed();
    }
    assert!(
        bystander.ping().is_empty(),
        "a second CONNECT took over the Session that it named"
    );
}

fn v311_silence_of_one_and_a_half_keep_alives_closes(lab: &Lab) {
    let (id, topic) = (lab.unique("silent"), lab.unique("silent"));
    let mut watcher = lab.broker().v311(&lab.unique("silent-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 0)]), [0]);
    let will = Some(WillSpec::new(&topic, b"silent"));
    let connect = ConnectSpec {
        keep_alive: 1,
        will,
        ..ConnectSpec::v311(&id)
    };
    let began = Instant::now();
    let mut raw = lab.broker().connect(&connect);
    raw.expect_closed();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(1400),
        "closed after {took:?} of Keep Alive 1 s"
    );
    assert_eq!(watcher.recv_publish().payload, b"silent");
}

fn v311_every_packet_counts_for_keep_alive(lab: &Lab) {
    assert_each_packet_keeps_alive(lab, 4);
}

/// For each kind of packet there is a connection with Keep Alive 1 s that sends nothing but packets of this kind, 0.6 s
/// apart. If they did not count, it would be closed 1.5 to 2 s after its CONNECT; it is there after 2.4 s.
#[track_caller]
pub(super) fn assert_each_packet_keeps_alive(lab: &Lab, level: u8) {
    const PAUSE: Duration = Duration::from_millis(600);
    let (topic, filter) = (lab.unique("alive"), lab.unique("alive"));
    let mut kinds = vec![
        wire::subscribe(level, 1, &[], &[(&filter, 0)]),
        wire::unsubscribe(level, 1, &[], &[&filter]),
        wire::pingreq(),
    ];
    kinds.extend([0, 1, 2].map(|qos| PublishSpec::new(&topic, b"x", qos).to_bytes(level)));
    kinds.extend([0x40, 0x50, 0x62, 0x70].map(|first| wire::ack(first, level, 1, None)));
    let mut clock = lab.broker().v311(&lab.unique("clock"));
    let mut clients: Vec<Raw> = Vec::new();
    for _ in &kinds {
        let id = lab.unique("alive");
        clients.push(lab.broker().connect(&ConnectSpec {
            level,
            keep_alive: 1,
            ..ConnectSpec::v311(&id)
        }));
    }
    for _ in 0..4 {
        for (client, packet) in clients.iter_mut().zip(&kinds) {
            client.send(packet);
        }
        clock.expect_silence(PAUSE);
    }
    for (client, packet) in clients.iter_mut().zip(&kinds) {
        client.send(&wire::subscribe(level, 7, &[], &[(&filter, 0)]));
        let is_alive = std::iter::from_fn(|| client.recv_or_close())
            .any(|answer| answer.first == 0x90 && answer.packet_id() == 7);
        assert!(is_alive, "[{}] is no sign of life", wire::to_hex(packet));
    }
}

fn v311_keep_alive_0_never_closes(lab: &Lab) {
    let mut raw = lab.broker().v311(&lab.unique("patient"));
    raw.expect_silence(Duration::from_millis(2500));
    assert!(raw.ping().is_empty());
}

fn v311_pingreq_is_answered(lab: &Lab) {
    let mut raw = lab.broker().v311(&lab.unique("ping"));
    for _ in 0..50 {
        raw.send_hex("c0 00");
        raw.expect_hex("d0 00");
    }
    // Many in one segment get one answer each.
    raw.send(&[0xC0_u8, 0x00].repeat(50));
    for _ in 0..50 {
        raw.expect_hex("d0 00");
    }
}

fn v311_pingreq_with_a_body_closes(lab: &Lab) {
    assert_closes(lab, &wire::hex("c0 01 00"));
    assert_closes(lab, &wire::hex("c0 02 00 01"));
}

/// Such a packet is no DISCONNECT, so the Will is published.
fn v311_disconnect_with_reserved_bits_closes(lab: &Lab) {
    let (id, topic) = (lab.unique("reserved"), lab.unique("reserved"));
    let mut watcher = lab.broker().v311(&lab.unique("reserved-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 0)]), [0]);
    let mut forms: Vec<Vec<u8>> = (1..=15).map(|flags| vec![0xE0 | flags, 0]).collect();
    forms.push(wire::hex("e0 01 00"));
    for form in forms {
        let will = Some(WillSpec::new(&topic, &form));
        let mut raw = lab.broker().connect(&ConnectSpec {
            will,
            ..ConnectSpec::v311(&id)
        });
        raw.send(&form);
        raw.expect_closed();
        assert_eq!(watcher.recv_publish().payload, form);
    }
}

fn v311_nothing_behind_disconnect_is_read(lab: &Lab) {
    let topic = lab.unique("behind");
    let mut watcher = lab.broker().v311(&lab.unique("behind-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 1)]), [1]);
    let mut raw = lab.broker().v311(&lab.unique("behind"));
    let publish = PublishSpec::new(&topic, b"behind", 1).to_bytes(4);
    raw.send(&[wire::disconnect(4, None, &[]), publish].concat());
    raw.expect_closed();
    let mut publisher = lab.broker().v311(&lab.unique("behind"));
    publisher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(watcher.recv_publish().payload, b"marker");
}

fn v311_wrong_fixed_header_flags_close(lab: &Lab) {
    let whole = ConnectSpec::v311(&lab.unique("flags")).to_bytes();
    let body = whole.get(2..).unwrap_or_default();
    for flags in 1..=15 {
        assert_refused_in_silence(lab.broker(), &wire::packet(0x10 | flags, body));
    }
    for (right, body) in [
        (0x40, "00 01"),
        (0x50, "00 01"),
        (0x62, "00 01"),
        (0x70, "00 01"),
        (0x82, "00 01 00 01 61 00"),
        (0xA2, "00 01 00 01 61"),
        (0xC0, ""),
    ] {
        let body = wire::hex(body);
        for flags in 0..=15 {
            let first = (right & 0xF0) | flags;
            if first != right {
                assert_closes(lab, &wire::packet(first, &body));
            }
        }
        // With the right flags the same packet, even for an unknown exchange, ends nothing.
        let mut raw = lab.broker().v311(&lab.unique("flags"));
        raw.send(&wire::packet(right, &body));
        raw.ping();
    }
}

fn v311_packets_of_the_server_close(lab: &Lab) {
    for form in ["20 02 00 00", "90 03 00 01 00", "b0 02 00 01", "d0 00"] {
        assert_closes(lab, &wire::hex(form));
    }
}
