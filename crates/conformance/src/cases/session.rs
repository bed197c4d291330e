//! Session State, the Network Connection, and what is sent again: sections 4.1, 4.2 and 4.4 of MQTT 5.0.
//!
//! The exchanges of QoS 1 and 2 are in `delivery`, what Clean Start and Session Present say with CONNECT and CONNACK. An
//! answered PINGREQ shows that the broker has handled all that was sent before, so it stands before a lost connection.

use std::time::Duration;

use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Delivered, Lab, Prop, PublishSpec, Raw, wire};

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(session_state_stays_while_connected, ["v5[MQTT-4.1.0-1]"]),
    case!(
        session_state_passes_to_a_second_connection,
        ["v5[MQTT-4.1.0-1]"]
    ),
    case!(
        session_ends_once_its_expiry_has_passed,
        ["v5[MQTT-4.1.0-2]"]
    ),
    case!(
        session_without_expiry_ends_with_its_connection,
        ["v5[MQTT-4.1.0-2]"]
    ),
    case!(session_with_a_longer_expiry_is_kept, ["v5[MQTT-3.1.2-23]"]),
    case!(
        session_state_holds_subscriptions_and_their_options,
        ["v5[MQTT-3.1.2-23]"]
    ),
    case!(connection_carries_packets_byte_by_byte, ["v5[MQTT-4.2-1]"]),
    case!(connection_carries_many_packets_at_once, ["v5[MQTT-4.2-1]"]),
    case!(connection_carries_a_megabyte_unchanged, ["v5[MQTT-4.2-1]"]),
    case!(
        redelivery_of_all_that_is_open,
        ["v5[MQTT-4.4.0-1]", "v5[MQTT-3.3.1-1]"]
    ),
    case!(redelivery_after_a_takeover, ["v5[MQTT-4.4.0-1]"]),
    case!(
        redelivery_goes_on_over_several_connections,
        ["v5[MQTT-4.4.0-1]"]
    ),
    case!(no_redelivery_within_a_connection, ["v5[MQTT-4.4.0-1]"]),
    case!(no_redelivery_into_a_new_session, ["v5[MQTT-4.4.0-1]"]),
    case!(no_redelivery_of_what_was_acknowledged, ["v5[MQTT-4.4.0-1]"]),
    case!(no_redelivery_of_what_was_refused, ["v5[MQTT-4.4.0-2]"]),
];

/// CONNECT with Clean Start 0 and a Session that outlives the case.
pub(super) fn durable(client_id: &str) -> ConnectSpec<'_> {
    expiring(client_id, 300)
}

fn expiring(client_id: &str, seconds: u32) -> ConnectSpec<'_> {
    let props = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, seconds)];
    ConnectSpec {
        clean: false,
        props,
        ..ConnectSpec::v5(client_id)
    }
}

/// An interval of one second is over for certain, with nothing sent to this client meanwhile.
#[track_caller]
pub(super) fn outwait_one_second(client: &mut Raw) {
    client.expect_silence(Duration::from_millis(1600));
}

/// Publishes these payloads at this QoS, and takes their deliveries at the same QoS without acknowledging them.
#[track_caller]
fn leave_open(
    publisher: &mut Raw,
    subscriber: &mut Raw,
    topic: &str,
    qos: u8,
    payloads: &[&str],
) -> Vec<Delivered> {
    let mut open = Vec::new();
    for payload in payloads {
        publisher.publish(&PublishSpec::new(topic, payload.as_bytes(), qos));
        let delivered = subscriber.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.qos),
            (payload.as_bytes(), qos)
        );
        open.push(delivered);
    }
    open
}

/// The next packet is this delivery once more: the same but for DUP.
#[track_caller]
fn expect_again(subscriber: &mut Raw, delivered: &Delivered) {
    let again = subscriber.recv_publish();
    assert_eq!(
        again,
        Delivered {
            dup: true,
            ..delivered.clone()
        }
    );
}

/// Loses the connection once all that it sent was handled, and resumes its Session.
#[track_caller]
fn reconnect(broker: &Broker, mut subscriber: Raw, client_id: &str) -> Raw {
    assert!(subscriber.ping().is_empty());
    subscriber.drop_connection();
    let resumed = broker.connect(&durable(client_id));
    assert!(resumed.session_present());
    resumed
}

fn session_state_stays_while_connected(lab: &Lab) {
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let ids = [lab.unique("none"), lab.unique("second")];
    let topic = lab.unique("stays");
    let mut clients = [
        lab.broker().connect(&ConnectSpec::v5(&ids[0])),
        lab.broker().connect(&expiring(&ids[1], 1)),
    ];
    for client in &mut clients {
        assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
        // A QoS 2 exchange of its own, left open.
        client.send_publish(&PublishSpec {
            packet_id: 9,
            ..PublishSpec::new("nobody", b"x", 2)
        });
        let pubrec = client.recv();
        assert_eq!((pubrec.first, pubrec.packet_id()), (0x50, 9));
    }
    publisher.publish(&PublishSpec::new(&topic, b"before", 2));
    let open = clients.each_mut().map(Raw::recv_publish);
    outwait_one_second(&mut publisher);
    publisher.publish(&PublishSpec::new(&topic, b"after", 1));
    for (client, open) in clients.iter_mut().zip(&open) {
        let after = client.recv_publish();
        assert_eq!(after.payload, b"after", "the Subscription is there");
        client.ack(&after);
        // The exchange that the broker began is there: PUBREC gets its PUBREL.
        client.ack(open);
        // And the one that the client began: PUBREL gets PUBCOMP with success.
        client.send(&wire::ack(0x62, 5, 9, None));
        let pubcomp = client.recv();
        assert_eq!(
            (pubcomp.first, pubcomp.packet_id(), pubcomp.reason(5)),
            (0x70, 9, 0)
        );
    }
}

fn session_state_passes_to_a_second_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("takeover"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut first = lab.broker().connect(&durable(&id));
    assert_eq!(first.subscribe(&[(topic.as_str(), 1)]), [1]);
    let mut second = lab.broker().connect(&durable(&id));
    assert!(second.session_present());
    first.expect_disconnect(0x8E);
    publisher.publish(&PublishSpec::new(&topic, b"x", 1));
    assert_eq!(second.recv_publish().payload, b"x");
}

fn session_ends_once_its_expiry_has_passed(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("expires"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&expiring(&id, 1));
    assert!(!client.session_present());
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    client.disconnect();
    let client = lab.broker().connect(&expiring(&id, 1));
    assert!(client.session_present(), "the interval has not passed");
    client.disconnect();
    publisher.publish(&PublishSpec::new(&topic, b"queued", 1));
    outwait_one_second(&mut publisher);
    let mut client = lab.broker().connect(&expiring(&id, 1));
    assert!(!client.session_present(), "the interval has passed");
    publisher.publish(&PublishSpec::new(&topic, b"unrouted", 1));
    assert!(
        client.ping().is_empty(),
        "neither the queue nor the Subscription is left"
    );
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x11]);
}

fn session_without_expiry_ends_with_its_connection(lab: &Lab) {
    let topic = lab.unique("ends");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for props in [vec![], vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 0)]] {
        let id = lab.unique("c");
        let spec = ConnectSpec {
            clean: false,
            props,
            ..ConnectSpec::v5(&id)
        };
        let mut client = lab.broker().connect(&spec);
        assert!(!client.session_present());
        assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
        client.disconnect();
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
        let mut client = lab.broker().connect(&spec);
        assert!(!client.session_present());
        assert!(client.ping().is_empty());
        assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x11]);
    }
}

fn session_with_a_longer_expiry_is_kept(lab: &Lab) {
    let intervals = [60, u32::MAX].map(|seconds| (seconds, lab.unique("kept")));
    for (seconds, id) in &intervals {
        lab.broker().connect(&expiring(id, *seconds)).disconnect();
    }
    outwait_one_second(&mut lab.broker().v5(&lab.unique("clock")));
    for (seconds, id) in &intervals {
        let client = lab.broker().connect(&expiring(id, 0));
        assert!(
            client.session_present(),
            "Session Expiry Interval {seconds}"
        );
        // The new CONNECT's own interval counts now.
        client.disconnect();
        assert!(!lab.broker().connect(&expiring(id, 0)).session_present());
    }
}

fn session_state_holds_subscriptions_and_their_options(lab: &Lab) {
    const NO_LOCAL: u8 = 0x04;
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    let (id, plain, shared) = (lab.unique("c"), lab.unique("plain"), lab.unique("shared"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    let filters = [(plain.as_str(), NO_LOCAL | RETAIN_AS_PUBLISHED | 1)];
    assert_eq!(
        client
            .subscribe_with(&[Prop::Varint(SUBSCRIPTION_IDENTIFIER, 5)], &filters)
            .codes(5),
        [1]
    );
    assert_eq!(
        client.subscribe(&[(format!("$share/g/{shared}").as_str(), 1)]),
        [1]
    );
    client.disconnect();
    let mut client = lab.broker().connect(&durable(&id));
    assert!(client.session_present());
    client.publish(&PublishSpec::new(&plain, b"own", 1));
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&plain, b"other", 2)
    });
    let other = client.recv_publish();
    assert_eq!(
        (other.payload.as_slice(), other.qos, other.retain),
        (b"other".as_slice(), 1, true)
    );
    assert_eq!(
        other.prop(SUBSCRIPTION_IDENTIFIER).map(|id| id.number()),
        Some(5)
    );
    client.ack(&other);
    publisher.publish(&PublishSpec::new(&shared, b"shared", 1));
    assert_eq!(client.recv_publish().payload, b"shared");
}

fn connection_carries_packets_byte_by_byte(lab: &Lab) {
    let (id, topic) = (lab.unique("slow"), lab.unique("slow"));
    let mut client = lab.broker().raw();
    let packets = [
        ConnectSpec::v5(&id).to_bytes(),
        wire::subscribe(5, 1, &[], &[(topic.as_str(), 0)]),
        PublishSpec::new(&topic, b"byte by byte", 0).to_bytes(5),
    ];
    for byte in packets.concat() {
        client.send(&[byte]);
    }
    assert_eq!((client.recv().first, client.recv().first), (0x20, 0x90));
    assert_eq!(client.recv_publish().payload, b"byte by byte");
}

fn connection_carries_many_packets_at_once(lab: &Lab) {
    let (id, topic) = (lab.unique("burst"), lab.unique("burst"));
    let mut client = lab.broker().raw();
    let mut bytes = ConnectSpec::v5(&id).to_bytes();
    bytes.extend(wire::subscribe(5, 1, &[], &[(topic.as_str(), 0)]));
    for number in 0..1000 {
        bytes.extend(PublishSpec::new(&topic, format!("{number}").as_bytes(), 0).to_bytes(5));
    }
    client.send(&bytes);
    assert_eq!((client.recv().first, client.recv().first), (0x20, 0x90));
    for number in 0..1000 {
        assert_eq!(
            client.recv_publish().payload,
            format!("{number}").into_bytes()
        );
    }
}

fn connection_carries_a_megabyte_unchanged(lab: &Lab) {
    let topic = lab.unique("large");
    // A period that divides no buffer's size, so that a shifted or repeated piece shows.
    let payload: Vec<u8> = (0..1_000_000_u32)
        .map(|position| (position % 251) as u8)
        .collect();
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    publisher.publish(&PublishSpec::new(&topic, &payload, 1));
    let delivered = client.recv_publish();
    assert!(
        delivered.payload == payload,
        "{} bytes of {} arrived, or others",
        delivered.payload.len(),
        payload.len()
    );
}

fn redelivery_of_all_that_is_open(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("open"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    let done = leave_open(&mut publisher, &mut client, &topic, 1, &["done at QoS 1"]);
    let mut open = leave_open(
        &mut publisher,
        &mut client,
        &topic,
        1,
        &["first at QoS 1", "second at QoS 1"],
    );
    open.extend(leave_open(
        &mut publisher,
        &mut client,
        &topic,
        2,
        &["first at QoS 2"],
    ));
    let released = leave_open(&mut publisher, &mut client, &topic, 2, &["released"]);
    open.extend(leave_open(
        &mut publisher,
        &mut client,
        &topic,
        2,
        &["second at QoS 2"],
    ));
    open.extend(leave_open(
        &mut publisher,
        &mut client,
        &topic,
        1,
        &["third at QoS 1"],
    ));
    client.ack(&done[0]);
    client.send(&wire::ack(0x50, 5, released[0].packet_id, None));
    let pubrel = client.recv();
    assert_eq!(
        (pubrel.first, pubrel.packet_id()),
        (0x62, released[0].packet_id)
    );
    let mut client = reconnect(lab.broker(), client, &id);
    // PUBLISH packets in their order, and the PUBREL, wherever it stands among them.
    let again = client.recv_until("PUBREL", |packet| packet.packet_type() == 6);
    assert_eq!(
        (again.first, again.packet_id()),
        (0x62, released[0].packet_id)
    );
    for delivered in &open {
        expect_again(&mut client, delivered);
    }
    assert!(client.ping().is_empty());
    client.send(&wire::ack(0x70, 5, released[0].packet_id, None));
    for delivered in &open {
        client.ack(delivered);
    }
    let mut client = reconnect(lab.broker(), client, &id);
    assert!(client.ping().is_empty(), "nothing is open any more");
}

fn redelivery_after_a_takeover(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("open"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut first = lab.broker().connect(&durable(&id));
    assert_eq!(first.subscribe(&[(topic.as_str(), 2)]), [2]);
    let mut open = leave_open(&mut publisher, &mut first, &topic, 1, &["one"]);
    open.extend(leave_open(&mut publisher, &mut first, &topic, 2, &["two"]));
    let mut second = lab.broker().connect(&durable(&id));
    assert!(second.session_present());
    first.expect_disconnect(0x8E);
    for delivered in &open {
        expect_again(&mut second, delivered);
        second.ack(delivered);
    }
    assert!(second.ping().is_empty());
}

fn redelivery_goes_on_over_several_connections(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("open"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    let mut open = leave_open(&mut publisher, &mut client, &topic, 1, &["one"]);
    open.extend(leave_open(&mut publisher, &mut client, &topic, 2, &["two"]));
    for _ in 0..3 {
        assert!(client.ping().is_empty());
        client.drop_connection();
        client = lab.broker().connect(&durable(&id));
        for delivered in &open {
            expect_again(&mut client, delivered);
        }
    }
    // What is new meanwhile comes behind, without DUP.
    publisher.publish(&PublishSpec::new(&topic, b"new", 1));
    let new = client.recv_publish();
    assert_eq!(
        (new.payload.as_slice(), new.dup),
        (b"new".as_slice(), false)
    );
    assert!(
        open.iter()
            .all(|delivered| delivered.packet_id != new.packet_id)
    );
}

fn no_redelivery_within_a_connection(lab: &Lab) {
    let topic = lab.unique("open");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    leave_open(&mut publisher, &mut client, &topic, 1, &["one"]);
    let released = leave_open(&mut publisher, &mut client, &topic, 2, &["two", "three"]);
    client.send(&wire::ack(0x50, 5, released[1].packet_id, None));
    assert_eq!(client.recv().packet_type(), 6);
    outwait_one_second(&mut client);
    assert!(client.ping().is_empty());
    // Neither time nor other traffic brings them back.
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    leave_open(&mut publisher, &mut client, &topic, 1, &["four"]);
    assert!(client.ping().is_empty());
}

fn no_redelivery_into_a_new_session(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("open"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    leave_open(&mut publisher, &mut client, &topic, 1, &["one"]);
    leave_open(&mut publisher, &mut client, &topic, 2, &["two"]);
    client.drop_connection();
    let mut client = lab.broker().connect(&ConnectSpec {
        clean: true,
        ..durable(&id)
    });
    assert!(!client.session_present());
    assert!(client.ping().is_empty());
}

fn no_redelivery_of_what_was_acknowledged(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("acknowledged"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    for qos in [1, 2] {
        for delivered in leave_open(&mut publisher, &mut client, &topic, qos, &["one", "two"]) {
            client.ack(&delivered);
        }
    }
    let mut client = reconnect(lab.broker(), client, &id);
    assert!(client.ping().is_empty());
}

fn no_redelivery_of_what_was_refused(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("refused"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
            let refused = leave_open(&mut publisher, &mut client, &topic, qos, &["refused"]);
            client.send(&wire::ack(first, 5, refused[0].packet_id, Some(reason)));
        }
        client = reconnect(lab.broker(), client, &id);
        assert!(
            client.ping().is_empty(),
            "a message refused at QoS {qos} came again"
        );
    }
}
