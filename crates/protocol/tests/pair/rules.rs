//! What the two ends agree on, and what becomes of an end that does not keep to it.

use dunlin_packet::{
    Packet, PacketType, ProtocolVersion, QoS, ReasonCode, SubscriptionOptions, TopicError,
};
use dunlin_protocol::ServerOffer;
use dunlin_protocol::aliases::AliasError;
use dunlin_protocol::client::{
    ClientError, ConnectOptions, Event, OutgoingMessage, ServerFault, Silence, UseError,
};

use crate::bench::{Pair, VERSIONS, kept};

const V5: ProtocolVersion = ProtocolVersion::V5;

fn pair(options: ConnectOptions, offer: ServerOffer) -> Pair {
    let mut pair = Pair::new(options, offer);
    pair.connect();
    pair
}

fn clean(version: ProtocolVersion) -> ConnectOptions {
    ConnectOptions::new(version, "c")
}

fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions::from_byte(qos).unwrap()
}

#[test]
fn the_handshake_in_each_version() {
    for version in VERSIONS {
        let mut pair = pair(kept(version), ServerOffer::default());
        assert!(pair.client.is_open());
        pair.connect();
        let knows = version != ProtocolVersion::V31;
        // 3.1 cannot say it, so a client that asks for its Session believes in it.
        assert_eq!(pair.sessions_present(), [!knows, true]);
        pair.options = clean(version);
        pair.connect();
        assert_eq!(pair.sessions_present().last(), Some(&false));
        pair.client.disconnect(ReasonCode::NormalDisconnection);
        assert!(pair.client.is_closed());
        pair.run();
        let reason = ReasonCode::NormalDisconnection;
        assert_eq!(pair.server.disconnected, Some(reason));
    }
}

#[test]
fn the_servers_terms_reach_the_client() {
    let offer = ServerOffer {
        receive_maximum: 3,
        keep_alive_max_s: 20,
        maximum_qos: QoS::AtLeastOnce,
        ..ServerOffer::default()
    };
    let pair = pair(ConnectOptions::new(V5, ""), offer);
    let terms = pair.client.terms();
    assert_eq!((terms.send_quota, terms.keep_alive_s), (3, 20));
    assert_eq!(terms.maximum_qos, QoS::AtLeastOnce);
    assert_eq!(terms.packet_size_max, 2_000_000);
    assert_eq!(terms.assigned_client_id.as_deref(), Some("auto-1"));
}

#[test]
fn a_refusal_ends_the_connection() {
    let offer = ServerOffer {
        keep_alive_max_s: 10,
        ..ServerOffer::default()
    };
    let mut pair = pair(clean(ProtocolVersion::V311), offer);
    let refused = |event: &Event| match event {
        Event::Refused { reason, .. } => Some(*reason),
        _ => None,
    };
    let reasons: Vec<_> = pair.events.iter().filter_map(refused).collect();
    assert_eq!(reasons, [ReasonCode::ClientIdentifierNotValid]);
    assert!(pair.client.is_closed());
    let filters = [("a", options(0))];
    let result = pair
        .client
        .subscribe(&filters, Default::default(), pair.now);
    assert_eq!(result, Err(UseError::NotConnected));
}

#[test]
fn each_qos_in_both_directions() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut pair = Pair::connected(version);
            let sequence = pair.publish("up", qos);
            pair.server.publish("t", "down", qos);
            pair.run();
            assert_eq!(pair.server.delivered, ["up"]);
            assert_eq!(pair.messages(), ["down"]);
            let expected = sequence.map(|sequence| (sequence, ReasonCode::Success));
            assert_eq!(pair.published(), Vec::from_iter(expected));
            assert_eq!(sequence.is_none(), qos == QoS::AtMostOnce);
        }
    }
}

#[test]
fn a_silent_client_pings_and_a_silent_server_is_given_up() {
    let options = ConnectOptions {
        keep_alive_s: 10,
        ..clean(V5)
    };
    let mut pair = pair(options, ServerOffer::default());
    assert_eq!(pair.wait(), Ok(10_000));
    assert_eq!(pair.server.pings, 1);
    assert_eq!(pair.events.last(), Some(&Event::Pong));
    // What the Server sends does not spare the client its own packets.
    pair.now = pair.now + 6_000;
    pair.server.publish("t", "x", QoS::AtMostOnce);
    pair.run();
    assert_eq!(pair.wait(), Ok(4_000));
    assert_eq!(pair.server.pings, 2);
    pair.server.is_mute = true;
    assert_eq!(pair.wait(), Ok(10_000));
    let dead = ClientError::Silent(Silence::NoPingresp);
    assert_eq!(pair.wait(), Err(dead));
    assert!(pair.client.is_closed());
    assert_eq!(pair.client.next_timeout(), None);
}

#[test]
fn keep_alive_is_the_servers_to_set_and_may_be_off() {
    let offer = ServerOffer {
        keep_alive_max_s: 7,
        ..ServerOffer::default()
    };
    assert_eq!(pair(clean(V5), offer).wait(), Ok(7_000));
    let off = ConnectOptions {
        keep_alive_s: 0,
        ..clean(V5)
    };
    let pair = pair(off, ServerOffer::default());
    assert_eq!(pair.client.next_timeout(), None);
}

#[test]
fn connack_is_awaited_for_so_long() {
    let mut pair = Pair::new(clean(V5), ServerOffer::default());
    pair.server.is_mute = true;
    pair.connect();
    assert_eq!(pair.wait(), Err(ClientError::Silent(Silence::NoConnack)));
    assert!(pair.client.is_closed());
}

#[test]
fn the_servers_receive_maximum_is_kept() {
    for (version, quota) in [(V5, 1), (ProtocolVersion::V311, 20)] {
        let offer = ServerOffer {
            receive_maximum: 1,
            ..ServerOffer::default()
        };
        let mut pair = Pair::new(kept(version), offer);
        if version != V5 {
            // 3.1.1 is not told, and the Server has to live with the client's own limit.
            pair.server.offer.receive_maximum = 20;
        }
        pair.connect();
        pair.server.withholds = true;
        for payload in ["a", "b", "c"] {
            pair.publish(payload, QoS::ExactlyOnce);
        }
        assert_eq!(pair.server.arrivals.len(), quota.min(3));
        assert_eq!(pair.client.session().waiting(), 3 - quota.min(3));
        // QoS 0 needs no quota.
        pair.publish("now", QoS::AtMostOnce);
        pair.server.give_way();
        pair.run();
        let mut delivered = pair.server.delivered.clone();
        delivered.retain(|payload| payload != "now");
        assert_eq!(delivered, ["a", "b", "c"]);
        assert_eq!(pair.published().len(), 3);
    }
}

#[test]
fn our_receive_maximum_is_kept_and_enforced() {
    let options = ConnectOptions {
        receive_maximum: 1,
        ..kept(V5)
    };
    let mut pair = pair(options, ServerOffer::default());
    for payload in ["a", "b"] {
        pair.server.publish("t", payload, QoS::ExactlyOnce);
    }
    pair.run();
    assert_eq!(pair.messages(), ["a", "b"]);
    // Two open exchanges are one too many.
    pair.feed(b"\x34\x06\x00\x01t\x00\x07\x00");
    assert_eq!(pair.error, None);
    pair.feed(b"\x34\x06\x00\x01t\x00\x08\x00");
    let fault = ServerFault::ReceiveMaximum { maximum: 1 };
    assert_eq!(pair.error, Some(ClientError::Server(fault)));
    pair.run();
    let reason = ReasonCode::ReceiveMaximumExceeded;
    assert_eq!(pair.server.disconnected, Some(reason));
}

#[test]
fn what_the_servers_terms_rule_out_is_not_sent() {
    let offer = ServerOffer {
        maximum_packet_size: 40,
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        ..ServerOffer::default()
    };
    let mut pair = pair(clean(V5), offer);
    let large = "x".repeat(40);
    pair.publish(&large, QoS::AtMostOnce);
    pair.publish(&large, QoS::AtLeastOnce);
    pair.publish("x", QoS::ExactlyOnce);
    let retained = OutgoingMessage {
        retain: true,
        ..OutgoingMessage::new("t", b"x", QoS::AtMostOnce)
    };
    pair.client.publish(retained, pair.now).unwrap();
    pair.publish("fits", QoS::AtLeastOnce);
    let given_up = |event: &Event| match event {
        Event::NotSent { sequence, reason } => Some((*sequence, *reason)),
        _ => None,
    };
    let given_up: Vec<_> = pair.events.iter().filter_map(given_up).collect();
    let expected = [
        (None, ReasonCode::PacketTooLarge),
        (Some(0), ReasonCode::PacketTooLarge),
        (Some(1), ReasonCode::QoSNotSupported),
        (None, ReasonCode::RetainNotSupported),
    ];
    assert_eq!(given_up, expected);
    assert_eq!(pair.server.delivered, ["fits"]);
}

#[test]
fn topic_aliases_of_the_server() {
    let options = ConnectOptions {
        topic_alias_maximum: 1,
        ..clean(V5)
    };
    let mut pair = pair(options, ServerOffer::default());
    for (topic, payload) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")] {
        pair.server.publish(topic, payload, QoS::AtLeastOnce);
    }
    pair.run();
    let topic = |event: &Event| match event {
        Event::Message(message) => Some(message.topic.clone()),
        _ => None,
    };
    let topics: Vec<_> = pair.events.iter().filter_map(topic).collect();
    assert_eq!(topics, ["a", "a", "b", "a"]);
    pair.feed(b"\x30\x06\x00\x00\x03\x23\x00\x02");
    let error = AliasError::Invalid {
        alias: 2,
        maximum: 1,
    };
    let fault = ServerFault::Alias(error);
    assert_eq!(pair.error, Some(ClientError::Server(fault)));
}

#[test]
fn requests_are_answered_and_repeated_until_they_are() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        let filters = [("a/#", options(1)), ("b", options(2))];
        let now = pair.now;
        let first = pair.client.subscribe(&filters, Default::default(), now);
        pair.run();
        let second = pair.client.unsubscribe(&["b"], now);
        pair.lose_after(0);
        pair.run();
        assert!(pair.is_cut());
        pair.connect();
        assert_eq!(pair.server.requests, ["+a/#", "+b", "-b"]);
        let packet_ids = [first.unwrap().get(), second.unwrap().get()];
        assert_eq!(packet_ids, [1, 2]);
        let answers = |event: &Event| match event {
            Event::Subscribed { packet_id, codes } | Event::Unsubscribed { packet_id, codes } => {
                Some((packet_id.get(), codes.len()))
            }
            _ => None,
        };
        let answers: Vec<_> = pair.events.iter().filter_map(answers).collect();
        let unsuback_codes = usize::from(version == V5);
        assert_eq!(answers, [(1, 2), (2, unsuback_codes)]);
    }
}

#[test]
fn what_cannot_be_asked_for_changes_nothing() {
    let mut pair = Pair::connected(V5);
    let now = pair.now;
    let wild = OutgoingMessage::new("a/#", b"", QoS::AtMostOnce);
    let wild = pair.client.publish(wild, now);
    assert_eq!(wild, Err(UseError::Topic(TopicError::WildcardInName)));
    let filters = [("a", options(0)), ("#/a", options(0))];
    let misplaced = pair.client.subscribe(&filters, Default::default(), now);
    let error = UseError::Topic(TopicError::MisplacedWildcard);
    assert_eq!(misplaced, Err(error));
    let nothing = pair.client.unsubscribe(&[], now);
    assert!(matches!(nothing, Err(UseError::Encode(_))), "{nothing:?}");
    assert_eq!(pair.client.connect(now), Err(UseError::AlreadyConnected));
    assert!(pair.client.outgoing().is_empty());
}

#[test]
fn the_servers_disconnect_ends_the_connection() {
    let mut pair = Pair::connected(V5);
    pair.server.disconnect(ReasonCode::ServerShuttingDown);
    pair.run();
    let told = |event: &Event| match event {
        Event::Disconnected { reason, .. } => Some(*reason),
        _ => None,
    };
    let reasons: Vec<_> = pair.events.iter().filter_map(told).collect();
    assert_eq!(reasons, [ReasonCode::ServerShuttingDown]);
    assert!(pair.client.is_closed());
}

#[test]
fn packets_that_have_no_place_end_the_connection() {
    let mut pair = Pair::new(clean(V5), ServerOffer::default());
    pair.server.is_mute = true;
    pair.connect();
    pair.feed(b"\xd0\x00");
    let fault = ServerFault::UnexpectedPacket(PacketType::Pingresp);
    assert_eq!(pair.error, Some(ClientError::Server(fault)));
    // Before CONNACK there is nothing to say good-bye to.
    assert!(pair.client.outgoing().is_empty());

    let cases: [(&[u8], ReasonCode); 5] = [
        (b"\x20\x03\x00\x00\x00", ReasonCode::ProtocolError),
        (b"\xf0\x00", ReasonCode::ProtocolError),
        (b"\x00\x00", ReasonCode::MalformedPacket),
        (
            b"\x36\x06\x00\x01t\x00\x01\x00",
            ReasonCode::MalformedPacket,
        ),
        (b"\x82\x06\x00\x01t\x00\x01\x00", ReasonCode::ProtocolError),
    ];
    for (bytes, reason) in cases {
        let mut pair = Pair::connected(V5);
        pair.feed(bytes);
        let told = pair.error.map(ClientError::reason_code);
        assert_eq!(told, Some(reason), "{bytes:02x?}");
        pair.run();
        assert_eq!(pair.server.disconnected, Some(reason), "{bytes:02x?}");
    }
}

#[test]
fn a_session_after_a_clean_start_is_the_servers_fault() {
    let mut pair = Pair::new(clean(ProtocolVersion::V311), ServerOffer::default());
    pair.server.is_mute = true;
    pair.connect();
    pair.feed(b"\x20\x02\x01\x00");
    let fault = ServerFault::SessionPresent;
    assert_eq!(pair.error, Some(ClientError::Server(fault)));
}

#[test]
fn a_suback_answers_each_filter() {
    let mut pair = Pair::connected(ProtocolVersion::V311);
    pair.server.is_mute = true;
    let filters = [("a", options(0)), ("b", options(0))];
    let now = pair.now;
    pair.client
        .subscribe(&filters, Default::default(), now)
        .unwrap();
    // The answer to another request is passed over.
    pair.feed(b"\x90\x03\x00\x09\x00");
    assert_eq!(pair.error, None);
    pair.feed(b"\x90\x03\x00\x01\x00");
    let fault = ServerFault::SubackCodes {
        asked: 2,
        answered: 1,
    };
    assert_eq!(pair.error, Some(ClientError::Server(fault)));
}

#[test]
fn acknowledgements_of_nothing_are_answered_or_passed_over() {
    let mut pair = Pair::connected(V5);
    // PUBACK and PUBCOMP, PUBREC and PUBREL for identifiers that nobody uses.
    pair.feed(b"\x40\x02\x00\x05\x70\x02\x00\x05\x50\x02\x00\x05\x62\x02\x00\x06");
    assert_eq!(pair.error, None);
    let expected = b"\x62\x03\x00\x05\x92\x70\x03\x00\x06\x92";
    assert_eq!(pair.client.outgoing().as_slice(), expected);
}

#[test]
fn a_packet_above_our_maximum_ends_the_connection() {
    let options = ConnectOptions {
        maximum_packet_size: 50,
        ..clean(V5)
    };
    let mut pair = pair(options, ServerOffer::default());
    let large = [&b"\x30\x3c\x00\x01t\x00"[..], &[b'x'; 56]].concat();
    pair.feed(&large);
    let told = pair.error.map(ClientError::reason_code);
    assert_eq!(told, Some(ReasonCode::PacketTooLarge));
}

#[test]
fn a_packet_may_come_in_pieces() {
    let mut pair = Pair::connected(V5);
    let mut bytes = Vec::new();
    let pong = Packet::Pingresp;
    dunlin_packet::encode(&pong, V5, u32::MAX, &mut bytes).unwrap();
    bytes.extend_from_slice(b"\x30\x05\x00\x01t\x00x");
    for byte in bytes {
        pair.feed(&[byte]);
    }
    assert_eq!(pair.messages(), ["x"]);
    assert!(pair.events.contains(&Event::Pong));
}
