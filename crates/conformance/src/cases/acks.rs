//! PUBACK, PUBREC, PUBREL and PUBCOMP: their flags, their forms, their Reason Codes, and their size.
//!
//! The broker receives PUBREL from publishers and the other three from subscribers, and sends the same four the other
//! way. Which of them answers what is proved in `publish_flow`.

use super::publish::{assert_rejected, expect_only_marker};
use super::publish_properties::{
    MAXIMUM_PACKET_SIZE, PAYLOAD_FORMAT_INDICATOR, REASON_STRING, RECEIVE_MAXIMUM,
    REQUEST_PROBLEM_INFORMATION, SESSION_EXPIRY_INTERVAL, USER_PROPERTY,
};
use crate::{Broker, Case, ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, Wire, case, wire};

pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x62;
pub(super) const PUBCOMP: u8 = 0x70;
const KINDS: [u8; 4] = [PUBACK, PUBREC, PUBREL, PUBCOMP];

/// The Reason Codes of PUBACK and PUBREC; those from the third on refuse the message.
const PUBACK_REASONS: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(ack_with_reserved_flags_is_malformed, ["v5[MQTT-2.1.3-1]"]),
    case!(
        pubrel_with_wrong_flags_is_malformed,
        ["v5[MQTT-3.6.1-1]", "v5[MQTT-2.1.3-1]"]
    ),
    case!(pubrel_of_the_broker_has_flags_0010, ["v5[MQTT-3.6.1-1]"]),
    case!(ack_cut_short_is_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(ack_with_packet_id_zero_is_refused, ["v5[MQTT-4.13.1-1]"]),
    case!(
        ack_with_a_bad_text_is_malformed,
        ["v5[MQTT-1.5.4-1]", "v5[MQTT-1.5.4-2]", "v5[MQTT-1.5.7-1]"]
    ),
    case!(ack_with_a_wrong_property_is_refused, ["v5[MQTT-4.13.1-1]"]),
    case!(
        puback_with_a_foreign_reason_is_refused,
        ["v5[MQTT-3.4.2-1]"]
    ),
    case!(
        pubrec_with_a_foreign_reason_is_refused,
        ["v5[MQTT-3.5.2-1]"]
    ),
    case!(
        pubrel_with_a_foreign_reason_is_refused,
        ["v5[MQTT-3.6.2-1]"]
    ),
    case!(
        pubcomp_with_a_foreign_reason_is_refused,
        ["v5[MQTT-3.7.2-1]"]
    ),
    case!(
        puback_with_every_reason_of_its_own_is_accepted,
        ["v5[MQTT-3.4.2-1]", "v5[MQTT-4.4.0-2]"]
    ),
    case!(
        pubrec_with_every_reason_of_its_own_is_accepted,
        ["v5[MQTT-3.5.2-1]", "v5[MQTT-4.3.3-4]", "v5[MQTT-4.4.0-2]"]
    ),
    case!(
        pubrel_with_every_reason_of_its_own_is_accepted,
        ["v5[MQTT-3.6.2-1]", "v5[MQTT-4.3.3-11]"]
    ),
    case!(
        pubcomp_with_every_reason_of_its_own_is_accepted,
        ["v5[MQTT-3.7.2-1]"]
    ),
    case!(
        ack_in_every_form_is_accepted_from_a_subscriber,
        ["v5[MQTT-2.2.2-1]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        pubrel_in_every_form_is_accepted_from_a_publisher,
        ["v5[MQTT-2.2.2-1]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        pubrel_for_an_unknown_packet_id,
        ["v5[MQTT-3.7.2-1]", "v5[MQTT-4.3.3-11]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        pubrec_for_an_unknown_packet_id,
        ["v5[MQTT-3.6.2-1]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        payload_format_is_not_checked_unless_asked,
        ["v5[MQTT-3.3.2-4]"]
    ),
    case!(
        payload_format_refused_in_puback_and_pubrec,
        ["v5[MQTT-3.4.2-1]", "v5[MQTT-3.5.2-1]"]
    ),
    case!(
        payload_format_refused_at_qos0_ends_the_connection,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        refused_qos2_publish_is_finished,
        ["v5[MQTT-4.3.3-9]", "v5[MQTT-3.3.4-7]"]
    ),
    case!(
        puback_keeps_to_the_maximum_packet_size,
        ["v5[MQTT-3.4.2-2]", "v5[MQTT-3.4.2-3]", "v5[MQTT-3.1.2-24]"]
    ),
    case!(
        pubrec_keeps_to_the_maximum_packet_size,
        ["v5[MQTT-3.5.2-2]", "v5[MQTT-3.5.2-3]", "v5[MQTT-3.1.2-24]"]
    ),
    case!(
        pubrel_keeps_to_the_maximum_packet_size,
        ["v5[MQTT-3.6.2-2]", "v5[MQTT-3.6.2-3]", "v5[MQTT-3.1.2-24]"]
    ),
    case!(
        pubcomp_keeps_to_the_maximum_packet_size,
        ["v5[MQTT-3.7.2-2]", "v5[MQTT-3.7.2-3]", "v5[MQTT-3.1.2-24]"]
    ),
    case!(
        acks_carry_no_problem_information_unasked,
        ["v5[MQTT-3.1.2-29]"]
    ),
];

fn ack_with_reserved_flags_is_malformed(lab: &Lab) {
    for kind in [PUBACK, PUBREC, PUBCOMP] {
        for flags in 1..=15 {
            assert_rejected(
                lab,
                &name(kind, "flags"),
                &wire::packet(kind | flags, &[0x00, 0x01]),
                &[0x81],
            );
        }
    }
}

fn pubrel_with_wrong_flags_is_malformed(lab: &Lab) {
    for flags in (0..=15).filter(|flags| *flags != 0x02) {
        assert_rejected(
            lab,
            &name(PUBREL, "flags"),
            &wire::packet(0x60 | flags, &[0x00, 0x01]),
            &[0x81],
        );
    }
}

fn pubrel_of_the_broker_has_flags_0010(lab: &Lab) {
    let topic = lab.unique("pubrel");
    let mut client = lab.broker().v5(&lab.unique("pubrel"));
    client.subscribe(&[(&topic, 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("pubrel"));
    publisher.publish(&PublishSpec::new(&topic, b"x", 2));
    let delivered = client.recv_publish();
    client.send(&wire::ack(PUBREC, 5, delivered.packet_id, None));
    let pubrel = client.recv();
    assert_eq!(
        (pubrel.packet_type(), pubrel.flags()),
        (6, 0x02),
        "{pubrel:?}"
    );
}

fn ack_cut_short_is_malformed(lab: &Lab) {
    for (form, hex) in [
        ("no Packet Identifier", ""),
        ("half a Packet Identifier", "00"),
        (
            "Property Length beyond the packet",
            "00 01 00 08 1f 00 01 61",
        ),
        ("Property Length 0 in two bytes", "00 01 00 80 00"),
        ("Property Length of five bytes", "00 01 00 80 80 80 80 01"),
        ("half a Property Length", "00 01 00 80"),
        ("bytes after the properties", "00 01 00 00 1f"),
        ("half a length of a Reason String", "00 01 00 02 1f 00"),
        ("Reason String beyond the packet", "00 01 00 04 1f 00 05 61"),
        ("User Property without value", "00 01 00 04 26 00 01 61"),
        ("unknown property", "00 01 00 02 7f 00"),
    ] {
        for kind in KINDS {
            assert_rejected(
                lab,
                &name(kind, form),
                &wire::packet(kind, &wire::hex(hex)),
                &[0x81],
            );
        }
    }
}

fn ack_with_packet_id_zero_is_refused(lab: &Lab) {
    for kind in KINDS {
        assert_rejected(
            lab,
            &name(kind, "Packet Identifier 0"),
            &wire::ack(kind, 5, 0, None),
            &[0x81, 0x82],
        );
    }
}

fn ack_with_a_bad_text_is_malformed(lab: &Lab) {
    for (form, hex) in [
        ("Reason String that is not UTF-8", "05 1f 00 02 c3 28"),
        ("Reason String with U+0000", "06 1f 00 03 61 00 62"),
        (
            "User Property whose name is not UTF-8",
            "08 26 00 02 c3 28 00 01 61",
        ),
        (
            "User Property whose value is not UTF-8",
            "08 26 00 01 61 00 02 c3 28",
        ),
    ] {
        for kind in KINDS {
            let body = [&[0x00, 0x01, 0x00][..], wire::hex(hex).as_slice()].concat();
            assert_rejected(lab, &name(kind, form), &wire::packet(kind, &body), &[0x81]);
        }
    }
}

/// A property of another packet is called malformed (0x81) in one place of the standard and a Protocol Error (0x82)
/// in others.
fn ack_with_a_wrong_property_is_refused(lab: &Lab) {
    let reason = Prop::Str(REASON_STRING, "twice");
    for kind in KINDS {
        let twice = with_properties(kind, 1, 0x00, &[reason, reason]);
        assert_rejected(lab, &name(kind, "two Reason Strings"), &twice, &[0x82]);
        for foreign in [
            Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1),
            Prop::U32(SESSION_EXPIRY_INTERVAL, 1),
        ] {
            let packet = with_properties(kind, 1, 0x00, &[foreign]);
            assert_rejected(
                lab,
                &name(kind, "property of another packet"),
                &packet,
                &[0x81, 0x82],
            );
        }
    }
}

fn puback_with_a_foreign_reason_is_refused(lab: &Lab) {
    assert_reasons_refused(
        lab,
        PUBACK,
        &[0x01, 0x04, 0x11, 0x7F, 0x81, 0x82, 0x92, 0x93, 0xA2, 0xFF],
    );
}

fn pubrec_with_a_foreign_reason_is_refused(lab: &Lab) {
    assert_reasons_refused(
        lab,
        PUBREC,
        &[0x01, 0x04, 0x11, 0x7F, 0x81, 0x82, 0x92, 0x93, 0xA2, 0xFF],
    );
}

fn pubrel_with_a_foreign_reason_is_refused(lab: &Lab) {
    assert_reasons_refused(
        lab,
        PUBREL,
        &[
            0x01, 0x10, 0x11, 0x80, 0x83, 0x87, 0x91, 0x93, 0x97, 0x99, 0xFF,
        ],
    );
}

fn pubcomp_with_a_foreign_reason_is_refused(lab: &Lab) {
    assert_reasons_refused(
        lab,
        PUBCOMP,
        &[
            0x01, 0x10, 0x11, 0x80, 0x83, 0x87, 0x91, 0x93, 0x97, 0x99, 0xFF,
        ],
    );
}

fn puback_with_every_reason_of_its_own_is_accepted(lab: &Lab) {
    let mut pair = Pair::new(lab);
    for reason in PUBACK_REASONS {
        let packet_id = pair.deliver(1);
        pair.subscriber
            .send(&wire::ack(PUBACK, 5, packet_id, Some(reason)));
    }
    pair.deliver(1);
}

/// Below 0x80 the exchange goes on; from 0x80 on it has ended, and the next packet is the next message.
fn pubrec_with_every_reason_of_its_own_is_accepted(lab: &Lab) {
    let mut pair = Pair::new(lab);
    for reason in PUBACK_REASONS {
        let packet_id = pair.deliver(2);
        pair.subscriber
            .send(&wire::ack(PUBREC, 5, packet_id, Some(reason)));
        if reason < 0x80 {
            expect_ack(&mut pair.subscriber, PUBREL, packet_id, 0x00);
            pair.subscriber
                .send(&wire::ack(PUBCOMP, 5, packet_id, None));
        }
    }
    pair.deliver(2);
}

fn pubrel_with_every_reason_of_its_own_is_accepted(lab: &Lab) {
    let topic = lab.unique("pubrel-reason");
    let mut publisher = lab.broker().v5(&lab.unique("pubrel-reason"));
    for (packet_id, reason) in [(1, 0x00), (2, 0x92)] {
        publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 2)
        });
        expect_ack(&mut publisher, PUBREC, packet_id, 0x10);
        publisher.send(&wire::ack(PUBREL, 5, packet_id, Some(reason)));
        expect_ack(&mut publisher, PUBCOMP, packet_id, 0x00);
    }
}

fn pubcomp_with_every_reason_of_its_own_is_accepted(lab: &Lab) {
    let mut pair = Pair::new(lab);
    for reason in [0x00, 0x92] {
        let packet_id = pair.deliver(2);
        pair.subscriber.send(&wire::ack(PUBREC, 5, packet_id, None));
        expect_ack(&mut pair.subscriber, PUBREL, packet_id, 0x00);
        pair.subscriber
            .send(&wire::ack(PUBCOMP, 5, packet_id, Some(reason)));
    }
    pair.deliver(2);
}

fn ack_in_every_form_is_accepted_from_a_subscriber(lab: &Lab) {
    let mut pair = Pair::new(lab);
    for form in 0..FORMS {
        let packet_id = pair.deliver(1);
        pair.subscriber.send(&in_form(form, PUBACK, packet_id));
        let packet_id = pair.deliver(2);
        pair.subscriber.send(&in_form(form, PUBREC, packet_id));
        expect_ack(&mut pair.subscriber, PUBREL, packet_id, 0x00);
        pair.subscriber.send(&in_form(form, PUBCOMP, packet_id));
    }
    pair.deliver(1);
}

fn pubrel_in_every_form_is_accepted_from_a_publisher(lab: &Lab) {
    let topic = lab.unique("pubrel-form");
    let mut publisher = lab.broker().v5(&lab.unique("pubrel-form"));
    for form in 0..FORMS {
        let packet_id = 300 + u16::from(form);
        publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 2)
        });
        expect_ack(&mut publisher, PUBREC, packet_id, 0x10);
        publisher.send(&in_form(form, PUBREL, packet_id));
        expect_ack(&mut publisher, PUBCOMP, packet_id, 0x00);
    }
}

fn pubrel_for_an_unknown_packet_id(lab: &Lab) {
    let mut publisher = lab.broker().v5(&lab.unique("pubrel-unknown"));
    publisher.send(&wire::ack(PUBREL, 5, 42, None));
    expect_ack(&mut publisher, PUBCOMP, 42, 0x92);
    publisher.publish(&PublishSpec {
        packet_id: 42,
        ..PublishSpec::new("a", b"x", 2)
    });
    publisher.send(&wire::ack(PUBREL, 5, 42, None));
    expect_ack(&mut publisher, PUBCOMP, 42, 0x92);
}

fn pubrec_for_an_unknown_packet_id(lab: &Lab) {
    let mut pair = Pair::new(lab);
    pair.subscriber.send(&wire::ack(PUBREC, 5, 42, None));
    expect_ack(&mut pair.subscriber, PUBREL, 42, 0x92);
    let packet_id = pair.deliver(1);
    pair.subscriber.send(&wire::ack(PUBACK, 5, packet_id, None));
    pair.deliver(1);
}

fn payload_format_is_not_checked_unless_asked(lab: &Lab) {
    let topic = lab.unique("unchecked");
    let mut client = lab.broker().v5(&lab.unique("unchecked"));
    client.subscribe(&[(&topic, 0)]);
    client.publish(&not_text(&topic, 1));
    let delivered = client.recv_publish();
    assert_eq!(delivered.payload, NOT_TEXT);
    assert_eq!(
        delivered.props,
        [OwnedProp::Byte(PAYLOAD_FORMAT_INDICATOR, 1)],
        "what is not checked is passed on as it came"
    );
}

fn payload_format_refused_in_puback_and_pubrec(lab: &Lab) {
    let (broker, topic) = (
        lab.broker_with("payload_format_check true"),
        lab.unique("checked"),
    );
    let mut subscriber = broker.v5(&lab.unique("checked"));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = broker.v5(&lab.unique("checked"));
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        publisher.send_publish(&not_text(&topic, qos));
        expect_ack(&mut publisher, kind, 1, 0x99);
        expect_only_marker(&mut publisher, &mut subscriber, &topic, qos);
    }
    for (indicator, payload) in [(1, "21.5 °C".as_bytes()), (0, NOT_TEXT)] {
        let props = vec![Prop::Byte(PAYLOAD_FORMAT_INDICATOR, indicator)];
        publisher.publish(&PublishSpec {
            props,
            ..PublishSpec::new(&topic, payload, 1)
        });
        let delivered = subscriber.recv_publish();
        assert_eq!(
            delivered.payload, payload,
            "Payload Format Indicator {indicator}"
        );
        subscriber.ack(&delivered);
    }
}

fn payload_format_refused_at_qos0_ends_the_connection(lab: &Lab) {
    let broker = lab.broker_with("payload_format_check true");
    let mut publisher = broker.v5(&lab.unique("checked-qos0"));
    publisher.send_publish(&not_text("a", 0));
    publisher.expect_disconnect(0x99);
}

/// A refused exchange frees its Packet Identifier and counts no longer for the Receive Maximum of 20.
fn refused_qos2_publish_is_finished(lab: &Lab) {
    let (broker, topic) = (
        lab.broker_with("payload_format_check true"),
        lab.unique("refused"),
    );
    let mut subscriber = broker.v5(&lab.unique("refused"));
    subscriber.subscribe(&[(&topic, 0)]);
    let mut publisher = broker.v5(&lab.unique("refused"));
    for packet_id in 1..=30 {
        publisher.send_publish(&PublishSpec {
            packet_id,
            ..not_text(&topic, 2)
        });
        expect_ack(&mut publisher, PUBREC, packet_id, 0x99);
    }
    publisher.publish(&PublishSpec {
        packet_id: 30,
        ..PublishSpec::new(&topic, b"new message", 2)
    });
    assert_eq!(subscriber.recv_publish().payload, b"new message");
}

fn puback_keeps_to_the_maximum_packet_size(lab: &Lab) {
    assert_answers_fit(lab, 1, PUBACK);
}

fn pubrec_keeps_to_the_maximum_packet_size(lab: &Lab) {
    assert_answers_fit(lab, 2, PUBREC);
}

fn pubrel_keeps_to_the_maximum_packet_size(lab: &Lab) {
    for maximum in PACKET_SIZES {
        let mut subscriber = limited(lab.broker(), lab, maximum);
        subscriber.send(&wire::ack(PUBREC, 5, 1, None));
        assert_fits(&expect_ack(&mut subscriber, PUBREL, 1, 0x92), maximum);
    }
    // With success, for a message that fills eight bytes by its PUBLISH.
    let broker = lab.broker_with("");
    let mut subscriber = limited(&broker, lab, 8);
    assert_eq!(subscriber.subscribe(&[("a", 2)]), [2]);
    let mut publisher = broker.v5(&lab.unique("fits"));
    publisher.publish(&PublishSpec::new("a", b"", 2));
    let id = subscriber.recv_publish().packet_id;
    subscriber.send(&wire::ack(PUBREC, 5, id, None));
    assert_fits(&expect_ack(&mut subscriber, PUBREL, id, 0x00), 8);
}

fn pubcomp_keeps_to_the_maximum_packet_size(lab: &Lab) {
    let topic = lab.unique("fits");
    for maximum in PACKET_SIZES {
        let mut publisher = limited(lab.broker(), lab, maximum);
        publisher.send(&wire::ack(PUBREL, 5, 1, None));
        assert_fits(&expect_ack(&mut publisher, PUBCOMP, 1, 0x92), maximum);
        publisher.send_publish(&PublishSpec::new(&topic, b"x", 2));
        assert_fits(&expect_ack(&mut publisher, PUBREC, 1, 0x10), maximum);
        publisher.send(&wire::ack(PUBREL, 5, 1, None));
        assert_fits(&expect_ack(&mut publisher, PUBCOMP, 1, 0x00), maximum);
    }
}

fn acks_carry_no_problem_information_unasked(lab: &Lab) {
    let broker = lab.broker_with("payload_format_check true");
    let id = lab.unique("no-problems");
    let props = vec![Prop::Byte(REQUEST_PROBLEM_INFORMATION, 0)];
    let mut client = broker.connect(&ConnectSpec {
        props,
        ..ConnectSpec::v5(&id)
    });
    client.send_publish(&not_text("a", 1));
    client.send_publish(&not_text("a", 2));
    client.send(&wire::ack(PUBREC, 5, 42, None));
    client.send(&wire::ack(PUBREL, 5, 42, None));
    for (kind, reason) in [
        (PUBACK, 0x99),
        (PUBREC, 0x99),
        (PUBREL, 0x92),
        (PUBCOMP, 0x92),
    ] {
        let ack = client.recv_until(wire::type_name(kind >> 4), |packet| packet.first == kind);
        assert_eq!(ack.reason(5), reason, "{ack:?}");
        assert!(
            ack.properties().is_empty(),
            "properties that the client did not want: {ack:?}"
        );
    }
}

/// A publisher, and a subscriber whose Receive Maximum of 1 shows whether its acknowledgement was accepted: only then
/// does it receive the next message.
struct Pair {
    publisher: Raw,
    subscriber: Raw,
    topic: String,
    count: u32,
}

impl Pair {
    #[track_caller]
    fn new(lab: &Lab) -> Pair {
        let (id, topic) = (lab.unique("acks"), lab.unique("acks"));
        let props = vec![Prop::U16(RECEIVE_MAXIMUM, 1)];
        let mut subscriber = lab.broker().connect(&ConnectSpec {
            props,
            ..ConnectSpec::v5(&id)
        });
        subscriber.subscribe(&[(&topic, 2)]);
        let publisher = lab.broker().v5(&lab.unique("acks"));
        Pair {
            publisher,
            subscriber,
            topic,
            count: 0,
        }
    }

    /// The Packet Identifier of one more message, delivered at this QoS and not acknowledged.
    #[track_caller]
    fn deliver(&mut self, qos: u8) -> u16 {
        self.count += 1;
        let payload = format!("message {}", self.count);
        self.publisher
            .publish(&PublishSpec::new(&self.topic, payload.as_bytes(), qos));
        let delivered = self.subscriber.recv_publish();
        assert_eq!(
            (delivered.qos, delivered.payload.as_slice()),
            (qos, payload.as_bytes()),
            "{delivered:?}"
        );
        delivered.packet_id
    }
}

/// How many forms of one acknowledgement there are.
const FORMS: u8 = 5;

/// A success in one of its forms: two bytes, with Reason Code, with empty, some or many properties.
fn in_form(form: u8, kind: u8, packet_id: u16) -> Vec<u8> {
    let text = Prop::Str(REASON_STRING, "well received, grüße");
    let user = Prop::Pair(USER_PROPERTY, "name", "value");
    match form {
        0 => wire::ack(kind, 5, packet_id, None),
        1 => wire::ack(kind, 5, packet_id, Some(0x00)),
        2 => with_properties(kind, packet_id, 0x00, &[]),
        3 => with_properties(kind, packet_id, 0x00, &[user]),
        _ => with_properties(
            kind,
            packet_id,
            0x00,
            &[user, text, user, Prop::Pair(USER_PROPERTY, "", "")],
        ),
    }
}

fn with_properties(kind: u8, packet_id: u16, reason: u8, properties: &[Prop<'_>]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.push(reason);
    body.extend(wire::props(properties));
    wire::packet(kind, &body)
}

/// The next packet is this acknowledgement with this Reason Code.
#[track_caller]
pub(super) fn expect_ack(client: &mut Raw, kind: u8, packet_id: u16, reason: u8) -> Wire {
    let ack = client.recv();
    let awaited = format!(
        "{} 0x{reason:02x} for {packet_id}",
        wire::type_name(kind >> 4)
    );
    assert_eq!(ack.first, kind, "awaited {awaited}, got {ack:?}");
    assert_eq!(
        (ack.packet_id(), ack.reason(5)),
        (packet_id, reason),
        "awaited {awaited}, got {ack:?}"
    );
    ack
}

/// Maximum Packet Sizes. An acknowledgement with its Reason Code has five bytes, and nine or more with any property:
/// too many for the first two.
const PACKET_SIZES: [u32; 5] = [5, 8, 12, 20, 48];

#[track_caller]
pub(super) fn limited(broker: &Broker, lab: &Lab, maximum: u32) -> Raw {
    let id = lab.unique("limited");
    let props = vec![Prop::U32(MAXIMUM_PACKET_SIZE, maximum)];
    broker.connect(&ConnectSpec {
        props,
        ..ConnectSpec::v5(&id)
    })
}

/// A message that is refused, one for nobody and one for somebody are answered within each Maximum Packet Size.
#[track_caller]
fn assert_answers_fit(lab: &Lab, qos: u8, kind: u8) {
    let broker = lab.broker_with("payload_format_check true");
    let mut subscriber = broker.v5(&lab.unique("fits"));
    assert_eq!(subscriber.subscribe(&[("heard", 0)]), [0]);
    for maximum in PACKET_SIZES {
        let mut publisher = limited(&broker, lab, maximum);
        let answers = [
            (not_text("heard", qos), 0x99),
            (PublishSpec::new("unheard", b"x", qos), 0x10),
            (PublishSpec::new("heard", b"x", qos), 0x00),
        ];
        for ((publish, reason), packet_id) in answers.into_iter().zip(1..) {
            publisher.send_publish(&PublishSpec {
                packet_id,
                ..publish
            });
            let answer = expect_ack(&mut publisher, kind, packet_id, reason);
            assert_fits(&answer, maximum);
        }
    }
}

/// A packet of the broker is no larger than this Maximum Packet Size, and well formed.
#[track_caller]
pub(super) fn assert_fits(packet: &Wire, maximum: u32) {
    let size = packet.to_bytes().len();
    assert!(
        size <= maximum as usize,
        "{packet:?} has {size} bytes, Maximum Packet Size is {maximum}"
    );
    packet.properties();
}

#[track_caller]
fn assert_reasons_refused(lab: &Lab, kind: u8, reasons: &[u8]) {
    for reason in reasons {
        let form = name(kind, &format!("Reason Code 0x{reason:02x}"));
        assert_rejected(
            lab,
            &form,
            &wire::ack(kind, 5, 1, Some(*reason)),
            &[0x81, 0x82],
        );
    }
}

/// A payload that is not UTF-8.
const NOT_TEXT: &[u8] = &[0xFF, 0xFE, b'x'];

/// A PUBLISH that calls a payload text which is none.
fn not_text(topic: &str, qos: u8) -> PublishSpec<'_> {
    let props = vec![Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1)];
    PublishSpec {
        props,
        ..PublishSpec::new(topic, NOT_TEXT, qos)
    }
}

fn name(kind: u8, form: &str) -> String {
    format!("{}: {form}", wire::type_name(kind >> 4))
}
