//! What broke other brokers: packets that are cut, too long, or not the client's. Each case is named after its line in a
//! list of such inputs, and tells who broke.
//!
//! Lines 6 to 16, which are about topics, names and values, stand in `hardening_names`; what costs memory or time, or
//! needs many clients, in `hardening_load`. Lines that are missing concern what this suite does not reach: access rules,
//! files, WebSocket and other interfaces.

use super::v311_connect::full_connect;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, Prop, PublishSpec, Raw, wire};

pub(super) const MALFORMED: u8 = 0x81;
pub(super) const PROTOCOL_ERROR: u8 = 0x82;

/// Protocol levels: 3.1, 3.1.1, 5.0.
pub(super) const LEVELS: [u8; 3] = [3, 4, 5];

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        hardening_1_first_packet_is_not_connect,
        ["v311[MQTT-3.1.0-1]"]
    ),
    case!(
        hardening_2_remaining_length_of_five_bytes,
        ["v311[MQTT-4.8.0-1]"]
    ),
    case!(hardening_2_property_length_of_five_bytes, []),
    case!(hardening_3_borders_of_segments_mean_nothing, []),
    case!(hardening_4_packets_cut_short_and_closed, []),
    case!(hardening_4_fields_cut_short, ["v311[MQTT-4.8.0-1]"]),
    case!(
        hardening_4_lengths_beyond_the_packet,
        ["v311[MQTT-4.8.0-1]"]
    ),
    case!(hardening_5_packets_of_the_server, ["v311[MQTT-4.8.0-1]"]),
    case!(hardening_5_reserved_packet_types, ["v311[MQTT-4.8.0-1]"]),
];

/// Mosquitto up to 2.0.15 kept a packet of any type and 256 MB, bytes and all, before it looked whether it was a CONNECT
/// (CVE-2023-0809).
fn hardening_1_first_packet_is_not_connect(lab: &Lab) {
    for packet_type in (0..=15).filter(|packet_type| *packet_type != 1) {
        for length in [
            "00",
            "02 00 01",
            "ff ff ff 7f",
            "ff ff ff 7f 00 04 4d 51 54 54 04",
        ] {
            let mut raw = lab.broker().raw().speaking(4);
            raw.send(&[vec![packet_type << 4], wire::hex(length)].concat());
            raw.expect_closed();
        }
    }
}

/// NanoMQ read beyond its buffer where a Variable Byte Integer goes on after four bytes (CVE-2026-21888).
fn hardening_2_remaining_length_of_five_bytes(lab: &Lab) {
    for length in [
        "80 80 80 80 01",
        "80 80 80 80 00",
        "ff ff ff ff 7f",
        "ff ff ff ff ff",
    ] {
        let mut raw = lab.broker().raw().speaking(4);
        raw.send_hex(&format!("10 {length}"));
        raw.expect_closed();
        for first in ["30", "32", "40", "50", "62", "70", "82", "a2", "c0", "e0"] {
            let bytes = wire::hex(&format!("{first} {length}"));
            expect_end(lab, 3, &bytes, MALFORMED);
            expect_end(lab, 4, &bytes, MALFORMED);
            expect_end(lab, 5, &bytes, MALFORMED);
        }
        expect_end(lab, 5, &wire::hex(&format!("f0 {length}")), MALFORMED);
    }
}

/// The same for the lengths and numbers within the packets of 5.0.
fn hardening_2_property_length_of_five_bytes(lab: &Lab) {
    let five = wire::hex("80 80 80 80 01");
    let (id, topic, payload) = (wire::string("five"), wire::string("a"), wire::binary(b"x"));
    for connect in [
        wire::connect_of(0x02, &five, &[&id]),
        wire::connect_of(0x06, &[0], &[&id, &five, &topic, &payload]),
    ] {
        let mut raw = lab.broker().raw();
        raw.send(&connect);
        raw.expect_refused(MALFORMED);
    }
    for (first, before, behind) in [
        (0x30, "00 01 61", "78"),
        (0x32, "00 01 61 00 01", "78"),
        (0x40, "00 01 00", ""),
        (0x50, "00 01 00", ""),
        (0x62, "00 01 00", ""),
        (0x70, "00 01 00", ""),
        (0x82, "00 01", "00 01 61 00"),
        (0x82, "00 01 06 0b", "00 01 61 00"),
        (0xA2, "00 01", "00 01 61"),
        (0xE0, "00", ""),
        (0xF0, "18", ""),
    ] {
        let body = [wire::hex(before), five.clone(), wire::hex(behind)].concat();
        expect_end(lab, 5, &wire::packet(first, &body), MALFORMED);
    }
}

/// A packet is not what one read brings: a broker took a WebSocket frame for a packet and read beyond it
/// (CVE-2026-25627).
fn hardening_3_borders_of_segments_mean_nothing(lab: &Lab) {
    for level in LEVELS {
        let (id, topic) = (lab.unique("borders"), lab.unique("borders"));
        let connect = ConnectSpec {
            level,
            ..ConnectSpec::v311(&id)
        }
        .to_bytes();
        let mut raw = lab.broker().raw().speaking(level);
        for byte in connect {
            raw.send(&[byte]);
        }
        assert_eq!(raw.recv().reason(level), 0);
        let rest = [
            wire::subscribe(level, 1, &[], &[(&topic, 0)]),
            PublishSpec::new(&topic, b"byte by byte", 0).to_bytes(level),
        ];
        for byte in rest.concat() {
            raw.send(&[byte]);
        }
        assert_eq!(raw.recv().codes(level), [0]);
        assert_eq!(raw.recv_publish().payload, b"byte by byte");
        // A thousand packets at once, and half of the next one.
        let publish = PublishSpec::new(&topic, b"in a heap", 0).to_bytes(level);
        let (front, back) = publish.split_at(publish.len() / 2);
        raw.send(&[publish.repeat(1000).as_slice(), front].concat());
        raw.send(back);
        for _ in 0..1001 {
            assert_eq!(raw.recv_publish().payload, b"in a heap");
        }
    }
}

/// NanoMQ crashed by packets that end within a field, and by peers that leave then (nanomq#1181, #1153, #1042, #1722).
fn hardening_4_packets_cut_short_and_closed(lab: &Lab) {
    for level in LEVELS {
        let id = lab.unique("cut");
        let connect = ConnectSpec {
            level,
            ..full_connect(&id)
        }
        .to_bytes();
        for cut in 1..connect.len() {
            let mut raw = lab.broker().raw();
            raw.send(connect.get(..cut).unwrap_or_default());
            raw.drop_connection();
        }
        for packet in client_packets(level, &lab.unique("cut")) {
            for cut in 1..packet.len() {
                let mut raw = client(lab, lab.broker(), level);
                raw.send(packet.get(..cut).unwrap_or_default());
                raw.drop_connection();
            }
        }
    }
    assert!(lab.broker().v311(&lab.unique("cut")).ping().is_empty());
}

/// The same packets with a Remaining Length that says what is there. Few of them are whole nevertheless, and are taken;
/// all others are violations.
fn hardening_4_fields_cut_short(lab: &Lab) {
    for level in LEVELS {
        let topic = lab.unique("cut");
        let whole = shorter_packets(level, &topic);
        for packet in client_packets(level, &topic) {
            let (Some(first), Some(body)) = (packet.first(), packet.get(2..)) else {
                panic!("{packet:?} is no packet");
            };
            for cut in 0..body.len() {
                let cut = wire::packet(*first, body.get(..cut).unwrap_or_default());
                let mut raw = client(lab, lab.broker(), level);
                let close = wire::disconnect(level, None, &[]);
                raw.send(&[cut.as_slice(), &wire::pingreq(), &close].concat());
                let answers = raw.try_recv_closed();
                let right = match answers.as_slice() {
                    // Nothing at all behind DISCONNECT, and no word to 3.x.
                    [] if whole.contains(&cut) => *first == 0xE0,
                    [] => level < 5,
                    [only] if !whole.contains(&cut) => {
                        level == 5 && only.first == 0xE0 && only.reason(5) >= 0x80
                    }
                    [.., last] => whole.contains(&cut) && last.first == 0xD0,
                };
                assert!(right, "{} is answered by {answers:?}", wire::to_hex(&cut));
            }
        }
    }
}

/// Strings and filters whose length points behind the packet, to the next packet or to nothing.
fn hardening_4_lengths_beyond_the_packet(lab: &Lab) {
    for form in [
        "30 03 00 05 61",
        "30 02 ff ff",
        "32 05 00 03 61 00 01",
        "82 06 00 01 00 05 61 00",
        "82 05 00 01 ff ff 61",
        "82 0a 00 01 00 01 61 00 00 09 62 00",
        "a2 05 00 01 00 05 61",
        "a2 04 00 01 ff ff",
    ] {
        // What follows would fill the gap.
        let bytes = [wire::hex(form), wire::pingreq().repeat(40)].concat();
        expect_end(lab, 3, &bytes, MALFORMED);
        expect_end(lab, 4, &bytes, MALFORMED);
    }
    for form in [
        "30 06 00 01 61 05 01 00",
        "30 04 00 01 61 7f",
        "82 07 00 01 03 0b 01 00 01",
        "82 04 00 01 7f 0b",
        "e0 03 00 05 1f",
        "e0 07 00 05 1f 00 09 61 62",
    ] {
        let bytes = [wire::hex(form), wire::pingreq().repeat(40)].concat();
        expect_end(lab, 5, &bytes, MALFORMED);
    }
}

/// Mosquitto followed a null pointer upon the CONNACK of a client (CVE-2021-28166).
fn hardening_5_packets_of_the_server(lab: &Lab) {
    for form in [
        "20 02 00 00",
        "20 03 00 00 00",
        "90 03 00 01 00",
        "90 04 00 01 00 00",
        "b0 02 00 01",
        "d0 00",
    ] {
        for level in LEVELS {
            expect_end(lab, level, &wire::hex(form), PROTOCOL_ERROR);
        }
        let mut raw = lab.broker().raw();
        raw.send_hex(form);
        raw.expect_closed();
    }
}

/// Mosquitto did not disconnect a client that sent a packet of a reserved type (mosquitto#2325).
fn hardening_5_reserved_packet_types(lab: &Lab) {
    for flags in 0..=15 {
        for body in ["", "00 01"] {
            let body = wire::hex(body);
            for level in LEVELS {
                expect_end(lab, level, &wire::packet(flags, &body), MALFORMED);
            }
            expect_end(lab, 3, &wire::packet(0xF0 | flags, &body), MALFORMED);
            expect_end(lab, 4, &wire::packet(0xF0 | flags, &body), MALFORMED);
        }
    }
}

/// One packet of each kind that a client may send, with properties where 5.0 has them; all shorter than 128 bytes.
fn client_packets(level: u8, topic: &str) -> Vec<Vec<u8>> {
    let (props, reason) = (properties(level), (level == 5).then_some(0));
    let publish = |qos| {
        PublishSpec {
            props: props.clone(),
            ..PublishSpec::new(topic, b"", qos)
        }
        .to_bytes(level)
    };
    let mut packets = vec![publish(0), publish(1), publish(2)];
    for first in [0x40, 0x50, 0x62, 0x70] {
        packets.push(wire::ack(first, level, 1, reason));
    }
    packets.push(wire::subscribe(level, 1, &props, &[(topic, 1), ("a", 0)]));
    packets.push(wire::unsubscribe(level, 1, &props, &[topic, "a"]));
    packets.push(wire::disconnect(level, reason, &props));
    if level == 5 {
        packets.push(wire::packet(
            0xF0,
            &[vec![0x19], wire::props(&props)].concat(),
        ));
    }
    packets
}

/// What is left of those packets when something is cut off that may be left out: the second filter, and in 5.0 all
/// behind the Packet Identifier, or the properties of DISCONNECT with or without its Reason Code.
fn shorter_packets(level: u8, topic: &str) -> Vec<Vec<u8>> {
    let props = properties(level);
    let mut shorter = vec![
        wire::subscribe(level, 1, &props, &[(topic, 1)]),
        wire::unsubscribe(level, 1, &props, &[topic]),
    ];
    if level == 5 {
        shorter.extend([0x40, 0x50, 0x62, 0x70].map(|first| wire::ack(first, 5, 1, None)));
        shorter.extend([None, Some(0)].map(|reason| wire::disconnect(5, reason, &[])));
    }
    shorter
}

/// One property, where there are any.
fn properties(level: u8) -> Vec<Prop<'static>> {
    if level == 5 {
        vec![Prop::Pair(0x26, "key", "value")]
    } else {
        Vec::new()
    }
}

/// A connected client of this protocol level.
#[track_caller]
pub(super) fn client(lab: &Lab, broker: &Broker, level: u8) -> Raw {
    let id = lab.unique("c");
    broker.connect(&ConnectSpec {
        level,
        ..ConnectSpec::v311(&id)
    })
}

/// A client that sends this is closed; on 5.0 it is told this reason before.
#[track_caller]
pub(super) fn expect_end(lab: &Lab, level: u8, bytes: &[u8], reason: u8) {
    let mut raw = client(lab, lab.broker(), level);
    raw.send(bytes);
    if level == 5 {
        raw.expect_disconnect(reason);
    } else {
        raw.expect_closed();
    }
}
