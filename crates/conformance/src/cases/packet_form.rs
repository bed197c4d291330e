//! The form of every packet: chapter 2 of MQTT 5.0.

use std::collections::BTreeSet;

use super::data::{expect_answer, expect_connect_refused, looped};
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, PublishSpec, Raw, wire};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(reserved_flags_are_checked, ["v5[MQTT-2.1.3-1]"]),
    case!(broker_sets_reserved_flags_as_listed, ["v5[MQTT-2.1.3-1]"]),
    case!(packet_type_0_is_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(packets_of_servers_are_refused, ["v5[MQTT-4.13.1-1]"]),
    case!(publish_at_qos_0_has_no_packet_id, ["v5[MQTT-2.2.1-2]"]),
    case!(packet_id_0_is_refused, ["v5[MQTT-2.2.1-3]"]),
    case!(broker_assigns_unused_packet_ids, ["v5[MQTT-2.2.1-4]"]),
    case!(acknowledgements_repeat_the_packet_id, ["v5[MQTT-2.2.1-5]"]),
    case!(
        suback_and_unsuback_repeat_the_packet_id,
        ["v5[MQTT-2.2.1-6]"]
    ),
    case!(broker_writes_property_length_0, ["v5[MQTT-2.2.2-1]"]),
    case!(missing_property_length_is_malformed, ["v5[MQTT-2.2.2-1]"]),
    case!(broken_property_blocks_are_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(properties_out_of_place_are_refused, ["v5[MQTT-4.13.1-1]"]),
];

fn reserved_flags_are_checked(lab: &Lab) {
    // PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and AUTH with every wrong flag set.
    let bodies = [
        (0x40, "00 01"),
        (0x50, "00 01"),
        (0x62, "00 01"),
        (0x70, "00 01"),
        (0x82, "00 01 00 00 01 61 00"),
        (0xA2, "00 01 00 00 01 61"),
        (0xC0, ""),
        (0xE0, ""),
        (0xF0, ""),
    ];
    for (right, body) in bodies {
        for flags in (0..16).filter(|flags| *flags != right & 0x0F) {
            expect_answer(
                lab,
                &wire::packet((right & 0xF0) | flags, &wire::hex(body)),
                MALFORMED,
            );
        }
    }
    // Before the version is known the answer may be a close alone.
    for flags in 1..16 {
        let mut connect = ConnectSpec::v5("data-flags").to_bytes();
        if let Some(first) = connect.first_mut() {
            *first |= flags;
        }
        let mut raw = lab.broker().raw();
        raw.send(&connect);
        for packet in raw.try_recv_closed() {
            assert_eq!(
                (packet.packet_type(), packet.reason(5)),
                (2, MALFORMED),
                "{packet:?}"
            );
        }
    }
}

fn broker_sets_reserved_flags_as_listed(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-flags"));
    let topic = lab.unique("data-flags");
    assert_eq!(raw.connack.first, 0x20);
    assert_eq!(raw.subscribe_with(&[], &[(&topic, 2)]).first, 0x90);
    raw.send_publish(&PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&topic, b"x", 1)
    });
    let delivered = raw.recv_until("PUBLISH", |packet| packet.packet_type() == 3);
    assert_eq!(delivered.first, 0x32);
    assert_eq!(
        raw.recv_until("PUBACK", |packet| packet.packet_type() == 4)
            .first,
        0x40
    );
    raw.send_publish(&PublishSpec {
        packet_id: 8,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    assert_eq!(
        raw.recv_until("PUBREC", |packet| packet.packet_type() == 5)
            .first,
        0x50
    );
    raw.send(&wire::ack(0x62, 5, 8, None));
    assert_eq!(
        raw.recv_until("PUBCOMP", |packet| packet.packet_type() == 7)
            .first,
        0x70
    );
    let delivered = raw.recv_publish();
    raw.send(&wire::ack(0x50, 5, delivered.packet_id, None));
    assert_eq!(
        raw.recv_until("PUBREL", |packet| packet.packet_type() == 6)
            .first,
        0x62
    );
    raw.send(&wire::unsubscribe(5, 9, &[], &[&topic]));
    assert_eq!(raw.recv().first, 0xB0);
    raw.send_hex("c0 00");
    assert_eq!(raw.recv().first, 0xD0);
    raw.send_hex("c0 01 00");
    let packets = raw.try_recv_closed();
    assert_eq!(
        packets.first().map(|packet| packet.first),
        Some(0xE0),
        "{packets:?}"
    );
}

fn packet_type_0_is_malformed(lab: &Lab) {
    for form in ["00 00", "00 02 00 00", "0f 00"] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
}

fn packets_of_servers_are_refused(lab: &Lab) {
    // CONNACK, SUBACK, UNSUBACK, PINGRESP.
    for form in [
        "20 03 00 00 00",
        "90 04 00 01 00 00",
        "b0 04 00 01 00 00",
        "d0 00",
    ] {
        expect_answer(lab, &wire::hex(form), PROTOCOL_ERROR);
    }
}

fn publish_at_qos_0_has_no_packet_id(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    let topic = format!("{base}/none");
    // What would be a Packet Identifier is the Property Length and the payload.
    raw.send(&wire::packet(
        0x30,
        &[wire::string(&topic), wire::hex("00 12 34")].concat(),
    ));
    let packet = raw.recv();
    assert_eq!(
        packet.to_bytes(),
        wire::packet(
            0x30,
            &[wire::string(&topic), wire::hex("00 12 34")].concat()
        )
    );
    // Published at QoS 1 and granted QoS 0: the identifier does not travel on.
    raw.publish(&PublishSpec {
        packet_id: 0x1234,
        ..PublishSpec::new(&topic, b"x", 1)
    });
    let packet = raw.recv();
    assert_eq!(
        packet.to_bytes(),
        wire::packet(0x30, &[wire::string(&topic), wire::hex("00 78")].concat())
    );
}

fn packet_id_0_is_refused(lab: &Lab) {
    expect_answer(
        lab,
        &wire::subscribe(5, 0, &[], &[("t", 0)]),
        PROTOCOL_ERROR,
    );
    expect_answer(lab, &wire::unsubscribe(5, 0, &[], &["t"]), PROTOCOL_ERROR);
    for qos in [1, 2] {
        let publish = PublishSpec {
            packet_id: 0,
            ..PublishSpec::new("t", b"x", qos)
        };
        expect_answer(lab, &publish.to_bytes(5), PROTOCOL_ERROR);
    }
}

fn broker_assigns_unused_packet_ids(lab: &Lab) {
    const OPEN: usize = 20;
    let topic = lab.unique("data-ids");
    let mut subscriber = lab.broker().v5(&lab.unique("data-ids-sub"));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("data-ids-pub"));
    let mut open = Vec::new();
    for round in 0..OPEN {
        publisher.publish(&PublishSpec::new(
            &topic,
            b"x",
            if round % 2 == 0 { 1 } else { 2 },
        ));
        open.push(subscriber.recv_publish());
    }
    let ids: BTreeSet<u16> = open.iter().map(|delivered| delivered.packet_id).collect();
    assert_eq!(
        ids.len(),
        OPEN,
        "a Packet Identifier is in use twice: {ids:?}"
    );
    assert!(!ids.contains(&0), "Packet Identifier 0: {ids:?}");
    let held = open.remove(0);
    for delivered in &open {
        subscriber.ack(delivered);
    }
    for round in 0..200 {
        publisher.publish(&PublishSpec::new(
            &topic,
            b"x",
            if round % 2 == 0 { 1 } else { 2 },
        ));
        let delivered = subscriber.recv_publish();
        assert!(
            delivered.packet_id != 0 && delivered.packet_id != held.packet_id,
            "{held:?} is open: {delivered:?}"
        );
        subscriber.ack(&delivered);
    }
}

fn acknowledgements_repeat_the_packet_id(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-acks"));
    let topic = lab.unique("data-acks");
    let ids = |first: u8, packet_id: u16| wire::packet(first, &packet_id.to_be_bytes());
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    for packet_id in [1, 0x0102, 0x7FFF, 0x8000, 0xFFFF] {
        raw.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 1)
        });
        let delivered = take_delivery(&mut raw);
        assert_eq!(
            raw.recv_until("PUBACK", |packet| packet.packet_type() == 4)
                .to_bytes(),
            ids(0x40, packet_id)
        );
        raw.send(&wire::ack(0x40, 5, delivered, None));

        raw.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 2)
        });
        assert_eq!(
            raw.recv_until("PUBREC", |packet| packet.packet_type() == 5)
                .to_bytes(),
            ids(0x50, packet_id)
        );
        raw.send(&wire::ack(0x62, 5, packet_id, None));
        assert_eq!(
            raw.recv_until("PUBCOMP", |packet| packet.packet_type() == 7)
                .to_bytes(),
            ids(0x70, packet_id)
        );
        let delivered = take_delivery(&mut raw);
        raw.send(&wire::ack(0x50, 5, delivered, None));
        assert_eq!(
            raw.recv_until("PUBREL", |packet| packet.packet_type() == 6)
                .to_bytes(),
            ids(0x62, delivered)
        );
        raw.send(&wire::ack(0x70, 5, delivered, None));
    }
    assert!(raw.ping().is_empty());
}

fn suback_and_unsuback_repeat_the_packet_id(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-subacks"));
    let topic = lab.unique("data-subacks");
    for packet_id in [1, 0x0102, 0x7FFF, 0x8000, 0xFFFF_u16] {
        let id = wire::to_hex(&packet_id.to_be_bytes());
        raw.send(&wire::subscribe(5, packet_id, &[], &[(&topic, 1)]));
        raw.expect_hex(&format!("90 04 {id} 00 01"));
        raw.send(&wire::unsubscribe(5, packet_id, &[], &[&topic]));
        raw.expect_hex(&format!("b0 04 {id} 00 00"));
    }
}

fn broker_writes_property_length_0(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-empty"));
    raw.send_hex("82 07 00 01 00 00 01 7a 01");
    raw.expect_hex("90 04 00 01 00 01");
    raw.send_hex("a2 06 00 02 00 00 01 7a");
    raw.expect_hex("b0 04 00 02 00 00");
    let topic = lab.unique("data-empty");
    assert_eq!(raw.subscribe(&[(&topic, 0)]), [0]);
    raw.publish(&PublishSpec::new(&topic, b"x", 0));
    let expected = [wire::string(&topic), vec![0, b'x']].concat();
    assert_eq!(raw.recv().to_bytes(), wire::packet(0x30, &expected));
}

fn missing_property_length_is_malformed(lab: &Lab) {
    for form in [
        "82 06 00 01 00 01 61 00", // SUBSCRIBE as 3.1.1 has it
        "a2 05 00 01 00 01 61",    // UNSUBSCRIBE as 3.1.1 has it
        "82 02 00 01",             // SUBSCRIBE that ends after its Packet Identifier
        "30 03 00 01 61",          // PUBLISH that ends after its Topic Name
        "32 05 00 01 61 00 01",    // PUBLISH that ends after its Packet Identifier
    ] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
    // CONNECT as 3.1.1 has it, and one that ends after its Keep Alive.
    for form in [
        "10 0d 00 04 4d 51 54 54 05 02 00 00 00 01 61",
        "10 0a 00 04 4d 51 54 54 05 02 00 00",
    ] {
        expect_connect_refused(lab, &wire::hex(form), MALFORMED);
    }
}

fn broken_property_blocks_are_malformed(lab: &Lab) {
    for form in [
        "30 05 00 01 61 02 01",          // the block is longer than the packet
        "30 05 00 01 61 01 02",          // Message Expiry Interval without its value
        "30 07 00 01 61 03 02 00 00",    // Message Expiry Interval cut within its value
        "30 07 00 01 61 03 03 00 05",    // Content Type longer than the block
        "30 05 00 01 61 01 7f",          // an identifier that the standard does not have
        "30 06 00 01 61 02 00 00",       // identifier 0
        "30 06 00 01 61 02 80 01",       // an identifier of two bytes
        "40 04 00 01 00 05",             // PUBACK, the block is longer than the packet
        "82 08 00 01 02 0b 01 00 01 61", // SUBSCRIBE without the options of its filter
    ] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
}

fn properties_out_of_place_are_refused(lab: &Lab) {
    // §2.2.2.2: a property of another packet is malformed.
    for form in [
        "30 0a 00 01 61 05 11 00 00 00 01 78", // PUBLISH with Session Expiry Interval
        "30 08 00 01 61 03 21 00 05 78",       // PUBLISH with Receive Maximum
        "82 0a 00 01 03 13 00 05 00 01 61 00", // SUBSCRIBE with Server Keep Alive
        "e0 05 00 03 21 00 05",                // DISCONNECT with Receive Maximum
    ] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
    for form in [
        "30 09 00 01 61 04 01 00 01 00 78", // Payload Format Indicator twice
        "30 07 00 01 61 02 01 02 78",       // Payload Format Indicator 2
        "82 0b 00 01 04 0b 01 0b 02 00 01 61 00", // Subscription Identifier twice
        "82 09 00 01 02 0b 00 00 01 61 00", // Subscription Identifier 0
    ] {
        expect_answer(lab, &wire::hex(form), PROTOCOL_ERROR);
    }
}

/// The Packet Identifier of the delivery that comes, in whatever order with acknowledgements.
fn take_delivery(raw: &mut Raw) -> u16 {
    let packet = raw.recv_until("PUBLISH", |packet| packet.packet_type() == 3);
    Delivered::from_wire(&packet, 5).packet_id
}
