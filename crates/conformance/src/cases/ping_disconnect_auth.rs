//! PINGREQ, PINGRESP, DISCONNECT and AUTH: sections 3.12 to 3.15 of MQTT 5.0.
//!
//! The exchange of enhanced authentication is in `flow_auth_errors`, Will Delay and Will Properties with the Will.

use super::acks::assert_fits;
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, Prop, PublishSpec, Raw, WillSpec, Wire, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const REASON_STRING: u8 = 0x1F;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// The Reason Codes that a Client may send in DISCONNECT beside 0x00.
const CLIENT_REASONS: [u8; 13] = [
    0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
];
/// Each of these makes the broker disconnect the client: bytes to send, and the reason it gives.
const PROVOCATIONS: [(&str, u8); 7] = [
    ("00 00", 0x81),
    ("83 07 00 01 00 00 01 61 00", 0x81),
    ("10 0d 00 04 4d 51 54 54 05 02 00 00 00 00 00", 0x82),
    ("f0 02 19 00", 0x82),
    ("30 07 00 01 61 03 23 00 00", 0x94),
    ("30 07 00 01 61 03 23 ff ff", 0x94),
    ("30 ff ff ff 7f", 0x95),
];

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(pingreq_is_answered, ["v5[MQTT-3.12.4-1]"]),
    case!(
        pingreq_with_flags_or_a_body_is_malformed,
        ["v5[MQTT-2.1.3-1]"]
    ),
    case!(no_disconnect_before_connack, ["v5[MQTT-3.14.0-1]"]),
    case!(disconnect_has_flags_0000, ["v5[MQTT-3.14.1-1]"]),
    case!(disconnect_forms_that_are_errors, ["v5[MQTT-4.13.1-1]"]),
    case!(disconnect_takes_the_listed_reasons, ["v5[MQTT-3.14.2-1]"]),
    case!(disconnect_refuses_other_reasons, ["v5[MQTT-3.14.2-1]"]),
    case!(disconnect_with_properties_is_taken, ["v5[MQTT-3.14.4-3]"]),
    case!(
        server_disconnect_is_well_formed_and_last,
        [
            "v5[MQTT-3.14.2-1]",
            "v5[MQTT-3.14.2-2]",
            "v5[MQTT-3.14.4-1]",
            "v5[MQTT-3.14.4-2]"
        ]
    ),
    case!(
        server_disconnect_at_shutdown_is_well_formed_and_last,
        [
            "v5[MQTT-3.14.2-2]",
            "v5[MQTT-3.14.4-1]",
            "v5[MQTT-3.14.4-2]"
        ]
    ),
    case!(
        server_disconnect_keeps_to_maximum_packet_size,
        ["v5[MQTT-3.14.2-3]", "v5[MQTT-3.14.2-4]"]
    ),
    case!(
        disconnect_ends_the_connection,
        ["v5[MQTT-3.14.4-1]", "v5[MQTT-3.14.4-2]"]
    ),
    case!(disconnect_0x00_discards_the_will, ["v5[MQTT-3.14.4-3]"]),
    case!(disconnect_0x04_publishes_the_will, ["v5[MQTT-3.14.4-3]"]),
    case!(
        disconnect_may_not_raise_a_session_expiry_of_zero,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(disconnect_shortens_the_session_expiry, ["v5[MQTT-4.1.0-2]"]),
    case!(auth_has_flags_0000, ["v5[MQTT-3.15.1-1]"]),
    case!(auth_refuses_other_reasons, ["v5[MQTT-3.15.2-1]"]),
    case!(
        auth_without_authentication_method_in_connect_is_a_protocol_error,
        ["v5[MQTT-4.12.0-7]"]
    ),
    case!(auth_forms_that_are_malformed, ["v5[MQTT-4.13.1-1]"]),
];

/// A client with a Will at QoS 1, and a watcher of the Will Topic.
struct Testator {
    client: Raw,
    watcher: Raw,
    will_topic: String,
}

impl Testator {
    fn new(lab: &Lab) -> Testator {
        let (id, will_topic) = (lab.unique("testator"), lab.unique("will"));
        let mut watcher = lab.broker().v5(&lab.unique("watcher"));
        assert_eq!(watcher.subscribe(&[(will_topic.as_str(), 1)]), [1]);
        let will = WillSpec {
            qos: 1,
            ..WillSpec::new(&will_topic, b"will")
        };
        let client = lab.broker().connect(&ConnectSpec {
            will: Some(will),
            ..ConnectSpec::v5(&id)
        });
        Testator {
            client,
            watcher,
            will_topic,
        }
    }

    /// The Will is the watcher's next packet.
    #[track_caller]
    fn expect_will(&mut self) {
        let will = self.watcher.recv_publish();
        assert_eq!(
            (&will.topic, will.payload.as_slice()),
            (&self.will_topic, b"will".as_slice())
        );
        self.watcher.ack(&will);
    }

    /// A marker of the watcher's own is its next packet, and its last.
    #[track_caller]
    fn expect_no_will(&mut self) {
        self.watcher
            .publish(&PublishSpec::new(&self.will_topic, b"marker", 1));
        let next = self.watcher.recv_publish();
        assert_eq!(next.payload, b"marker");
        self.watcher.ack(&next);
        assert!(self.watcher.ping().is_empty());
    }
}

fn pingreq_is_answered(lab: &Lab) {
    let clients = [
        lab.broker().v5(&lab.unique("c")),
        lab.broker().v311(&lab.unique("c")),
        lab.broker().v31(&lab.unique("c")),
    ];
    for mut client in clients {
        client.send_hex("c0 00");
        client.expect_hex("d0 00");
        client.send_hex("c0 00 c0 00 c0 00");
        for _ in 0..3 {
            client.expect_hex("d0 00");
        }
        // Two halves of one packet make one answer.
        client.send_hex("c0");
        client.send_hex("00");
        client.expect_hex("d0 00");
    }
}

fn pingreq_with_flags_or_a_body_is_malformed(lab: &Lab) {
    for hex in ["c1 00", "c2 00", "c4 00", "c8 00", "cf 00", "c0 01 00"] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        client.expect_disconnect(0x81);
    }
}

fn no_disconnect_before_connack(lab: &Lab) {
    let openings = [
        ("c0 00", "PINGREQ"),
        ("e0 00", "DISCONNECT"),
        ("f0 00", "AUTH"),
        ("82 07 00 01 00 00 01 61 00", "SUBSCRIBE"),
        ("30 04 00 01 61 00", "PUBLISH"),
        ("00 00", "type 0"),
        (
            "10 0d 00 04 4d 51 54 54 05 03 00 00 00 00 00",
            "CONNECT with the reserved flag",
        ),
        (
            "10 0d 00 04 4d 51 54 54 05 02 00 00 05 00 00",
            "CONNECT with properties beyond its end",
        ),
        (
            "10 0e 00 04 4d 51 54 54 05 02 00 00 00 00 05 61",
            "CONNECT with a Client Identifier beyond its end",
        ),
        (
            "10 12 00 04 4d 51 54 54 05 02 00 00 04 15 00 01 78 00 01 61",
            "CONNECT with an Authentication Method",
        ),
        (
            "10 ff ff ff ff 7f",
            "CONNECT with a Remaining Length of five bytes",
        ),
    ];
    for (hex, what) in openings {
        let mut client = lab.broker().raw();
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        for packet in &packets {
            assert_eq!(packet.packet_type(), 2, "{what} is answered by {packet:?}");
            assert!(packet.reason(5) >= 0x80, "{what} is answered by {packet:?}");
        }
        assert!(packets.len() <= 1, "{what} is answered by {packets:?}");
    }
}

fn disconnect_has_flags_0000(lab: &Lab) {
    for flags in 1..16 {
        let mut testator = Testator::new(lab);
        testator.client.send(&[0xE0 | flags, 0x00]);
        testator.client.expect_disconnect(0x81);
        testator.expect_will();
    }
}

fn disconnect_forms_that_are_errors(lab: &Lab) {
    let forms = [
        ("e0 02 00 05", 0x81, "properties longer than the packet"),
        ("e0 03 00 01 7e", 0x81, "an unknown property"),
        ("e0 03 00 01 11", 0x81, "a property without its value"),
        ("e0 03 00 00 00", 0x81, "a byte behind the properties"),
        (
            "e0 07 00 05 1f 00 02 c3 28",
            0x81,
            "a Reason String that is not UTF-8",
        ),
        (
            "e0 0c 00 0a 11 00 00 00 00 11 00 00 00 00",
            0x82,
            "Session Expiry Interval twice",
        ),
        (
            "e0 0a 00 08 1f 00 01 61 1f 00 01 62",
            0x82,
            "Reason String twice",
        ),
        ("e0 04 00 02 0b 01", 0x81, "a Subscription Identifier"),
        ("e0 05 00 03 21 00 01", 0x81, "a Receive Maximum"),
    ];
    for (hex, reason, what) in forms {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        assert!(
            packets[0].first == 0xE0 && packets[0].reason(5) == reason,
            "{what}: {packets:?}"
        );
    }
}

fn disconnect_takes_the_listed_reasons(lab: &Lab) {
    for reason in CLIENT_REASONS {
        let mut testator = Testator::new(lab);
        testator
            .client
            .send(&wire::disconnect(5, Some(reason), &[]));
        testator.client.expect_closed();
        testator.expect_will();
    }
}

/// 0x81 and 0x82 are both fair: the standard names no code for a Reason Code that is not listed.
fn disconnect_refuses_other_reasons(lab: &Lab) {
    for reason in [0x01, 0x02, 0x05, 0x10, 0x18, 0x7F, 0x84, 0x91, 0xA3, 0xFF] {
        let mut testator = Testator::new(lab);
        testator
            .client
            .send(&wire::disconnect(5, Some(reason), &[]));
        let packets = testator.client.try_recv_closed();
        assert_eq!(packets.len(), 1, "DISCONNECT 0x{reason:02x}: {packets:?}");
        let answer = &packets[0];
        assert!(
            answer.first == 0xE0 && matches!(answer.reason(5), 0x81 | 0x82),
            "0x{reason:02x}: {answer:?}"
        );
        testator.expect_will();
    }
}

fn disconnect_with_properties_is_taken(lab: &Lab) {
    let mut testator = Testator::new(lab);
    let props = [
        Prop::U32(SESSION_EXPIRY_INTERVAL, 0),
        Prop::Str(REASON_STRING, "done"),
        Prop::Pair(USER_PROPERTY, "k", "v"),
        Prop::Pair(USER_PROPERTY, "k", "v"),
    ];
    testator
        .client
        .send(&wire::disconnect(5, Some(0x00), &props));
    testator.client.expect_closed();
    testator.expect_no_will();
}

/// The answers are one DISCONNECT, by the rules, and nothing else.
#[track_caller]
fn expect_proper_disconnect(client: &mut Raw, reason: u8) -> Wire {
    let mut packets = client.try_recv_closed();
    assert_eq!(
        packets.len(),
        1,
        "awaited DISCONNECT 0x{reason:02x} alone, got {packets:?}"
    );
    let disconnect = packets.remove(0);
    assert_eq!(
        (disconnect.first, disconnect.reason(5)),
        (0xE0, reason),
        "{disconnect:?}"
    );
    assert_eq!(
        disconnect.prop(SESSION_EXPIRY_INTERVAL),
        None,
        "{disconnect:?}"
    );
    disconnect
}

fn server_disconnect_is_well_formed_and_last(lab: &Lab) {
    for (hex, reason) in PROVOCATIONS {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        // What is already on its way is not answered any more.
        client.send_hex("c0 00 82 07 00 01 00 00 01 61 00");
        expect_proper_disconnect(&mut client, reason);
    }
    // A Session with an expiry of its own, taken over, and one that falls silent.
    let id = lab.unique("twice");
    let durable = ConnectSpec {
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)],
        ..ConnectSpec::v5(&id)
    };
    let mut first = lab.broker().connect(&durable);
    let second = lab.broker().connect(&durable);
    expect_proper_disconnect(&mut first, 0x8E);
    second.disconnect();
    let id = lab.unique("silent");
    let mut silent = lab.broker().connect(&ConnectSpec {
        keep_alive: 1,
        ..ConnectSpec::v5(&id)
    });
    let packets = silent.try_recv_closed();
    assert!(packets.len() <= 1, "{packets:?}");
    for packet in packets {
        assert_eq!((packet.first, packet.reason(5)), (0xE0, 0x8D), "{packet:?}");
        assert_eq!(packet.prop(SESSION_EXPIRY_INTERVAL), None, "{packet:?}");
    }
}

fn server_disconnect_at_shutdown_is_well_formed_and_last(lab: &Lab) {
    let mut broker = lab.broker_with("");
    let id = lab.unique("c");
    let mut client = broker.connect(&ConnectSpec {
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)],
        ..ConnectSpec::v5(&id)
    });
    assert_eq!(client.subscribe(&[("a", 1)]), [1]);
    assert!(broker.terminate().success());
    expect_proper_disconnect(&mut client, 0x8B);
}

/// With its Reason Code it has three bytes, and seven or more with any property. A size below five would leave no room
/// for the CONNACK before it.
fn server_disconnect_keeps_to_maximum_packet_size(lab: &Lab) {
    let mut broker = lab.broker_with("");
    for maximum in [5, 6, 8, 12, 20] {
        let small = ConnectSpec {
            props: vec![Prop::U32(MAXIMUM_PACKET_SIZE, maximum)],
            ..ConnectSpec::v5("small")
        };
        for (hex, reason) in PROVOCATIONS {
            let mut client = broker.connect(&small);
            client.send_hex(hex);
            assert_fits(&expect_proper_disconnect(&mut client, reason), maximum);
        }
        let mut older = broker.connect(&small);
        let newer = broker.connect(&small);
        assert_fits(&expect_proper_disconnect(&mut older, 0x8E), maximum);
        newer.disconnect();
    }
    let mut last = broker.connect(&ConnectSpec {
        props: vec![Prop::U32(MAXIMUM_PACKET_SIZE, 5)],
        ..ConnectSpec::v5("last")
    });
    assert!(broker.terminate().success());
    assert_fits(&expect_proper_disconnect(&mut last, 0x8B), 5);
}

fn disconnect_ends_the_connection(lab: &Lab) {
    let topic = lab.unique("behind");
    let mut watcher = lab.broker().v5(&lab.unique("watcher"));
    assert_eq!(watcher.subscribe(&[(topic.as_str(), 1)]), [1]);
    for reason in [None, Some(0x00), Some(0x04), Some(0x80)] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        // What stands behind DISCONNECT is neither answered nor carried out.
        let behind = PublishSpec::new(&topic, b"behind", 1).to_bytes(5);
        client.send(&[wire::disconnect(5, reason, &[]), wire::pingreq(), behind].concat());
        client.expect_closed();
        watcher.publish(&PublishSpec::new(&topic, b"marker", 1));
        let next = watcher.recv_publish();
        assert_eq!(next.payload, b"marker");
        watcher.ack(&next);
    }
}

fn disconnect_0x00_discards_the_will(lab: &Lab) {
    for hex in ["e0 00", "e0 01 00", "e0 02 00 00"] {
        let mut testator = Testator::new(lab);
        testator.client.send_hex(hex);
        testator.client.expect_closed();
        testator.expect_no_will();
    }
}

fn disconnect_0x04_publishes_the_will(lab: &Lab) {
    for hex in ["e0 01 04", "e0 02 04 00"] {
        let mut testator = Testator::new(lab);
        testator.client.send_hex(hex);
        testator.client.expect_closed();
        testator.expect_will();
        testator.expect_no_will();
    }
}

/// Section 3.14.2.2.2.
fn disconnect_may_not_raise_a_session_expiry_of_zero(lab: &Lab) {
    let absent = Vec::new();
    let zero = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 0)];
    for props in [absent, zero] {
        for seconds in [1, 300, u32::MAX] {
            let id = lab.unique("c");
            let mut client = lab.broker().connect(&ConnectSpec {
                props: props.clone(),
                ..ConnectSpec::v5(&id)
            });
            client.send(&wire::disconnect(
                5,
                Some(0x00),
                &[Prop::U32(SESSION_EXPIRY_INTERVAL, seconds)],
            ));
            client.expect_disconnect(0x82);
            let again = lab.broker().connect(&ConnectSpec {
                clean: false,
                ..ConnectSpec::v5(&id)
            });
            assert!(
                !again.session_present(),
                "the Session ended with its connection"
            );
            again.disconnect();
        }
    }
}

fn disconnect_shortens_the_session_expiry(lab: &Lab) {
    for (seconds, present) in [(Some(0), false), (Some(200), true), (None, true)] {
        let id = lab.unique("c");
        let durable = ConnectSpec {
            props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 100)],
            ..ConnectSpec::v5(&id)
        };
        let mut client = lab.broker().connect(&durable);
        let props: Vec<Prop<'_>> = seconds
            .map(|s| Prop::U32(SESSION_EXPIRY_INTERVAL, s))
            .into_iter()
            .collect();
        client.send(&wire::disconnect(5, Some(0x00), &props));
        client.expect_closed();
        let again = lab.broker().connect(&ConnectSpec {
            clean: false,
            ..ConnectSpec::v5(&id)
        });
        assert_eq!(
            again.session_present(),
            present,
            "DISCONNECT with Session Expiry Interval {seconds:?}"
        );
        again.disconnect();
    }
}

fn auth_has_flags_0000(lab: &Lab) {
    for flags in 1..16 {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&[0xF0 | flags, 0x00]);
        client.expect_disconnect(0x81);
    }
}

/// 0x81 and 0x82 are both fair: the standard names no code for a Reason Code that is not listed.
fn auth_refuses_other_reasons(lab: &Lab) {
    for reason in [0x01, 0x17, 0x1A, 0x7F, 0x80, 0x8C, 0xFF] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&[0xF0, 0x02, reason, 0x00]);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "AUTH 0x{reason:02x}: {packets:?}");
        assert!(
            packets[0].first == 0xE0 && matches!(packets[0].reason(5), 0x81 | 0x82),
            "{packets:?}"
        );
    }
}

fn auth_without_authentication_method_in_connect_is_a_protocol_error(lab: &Lab) {
    let method = wire::props(&[Prop::Str(AUTHENTICATION_METHOD, "SCRAM-SHA-256")]);
    for reason in [0x00, 0x18, 0x19] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&[0xF0, 0x02, reason, 0x00]);
        client.expect_disconnect(0x82);
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&wire::packet(
            0xF0,
            &[vec![reason], method.clone()].concat(),
        ));
        client.expect_disconnect(0x82);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send_hex("f0 00");
    client.expect_disconnect(0x82);
}

fn auth_forms_that_are_malformed(lab: &Lab) {
    let forms = [
        ("f0 02 18 05", "properties longer than the packet"),
        ("f0 03 18 01 7e", "an unknown property"),
        ("f0 06 18 04 15 00 05 61", "a method that is cut off"),
        ("f0 07 18 05 15 00 02 c3 28", "a method that is not UTF-8"),
        ("f0 03 18 00 00", "a byte behind the properties"),
    ];
    for (hex, what) in forms {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        assert!(
            packets[0].first == 0xE0 && packets[0].reason(5) == 0x81,
            "{what}: {packets:?}"
        );
    }
    // A 3.1.1 client has no such packet at all.
    let mut client = lab.broker().v311(&lab.unique("c"));
    client.send_hex("f0 00");
    client.expect_closed();
}
