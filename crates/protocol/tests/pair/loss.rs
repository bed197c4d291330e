//! Loss of the connection at every byte of an exchange, and again at every byte of the next
//! connection: QoS 2 arrives once, QoS 1 at least once, both in order.

use dunlin_packet::{ProtocolVersion, QoS, ReasonCode};
use dunlin_protocol::client::Event;

use crate::bench::{Pair, VERSIONS};
use crate::server::Arrival;

/// Runs `start` over connections that are lost at each pair of places; both sides then talk to the
/// end, and `check` looks at the outcome. Returns how many bytes the undisturbed exchange has.
fn lose_everywhere(version: ProtocolVersion, start: fn(&mut Pair), check: fn(&Pair)) -> usize {
    let (mut first, mut second) = (0, 0);
    loop {
        let mut pair = Pair::connected(version);
        pair.lose_after(first);
        start(&mut pair);
        if !pair.is_cut() {
            check(&pair);
            return first;
        }
        pair.lose_after(second);
        pair.connect();
        if pair.is_cut() {
            pair.connect();
            second += 1;
        } else {
            first += 1;
            second = 0;
        }
        check(&pair);
    }
}

fn publish_two(pair: &mut Pair, qos: QoS) {
    pair.publish("one", qos);
    pair.publish("two", qos);
}

fn serve_two(pair: &mut Pair, qos: QoS) {
    pair.server.publish("t", "one", qos);
    pair.server.publish("t", "two", qos);
    pair.run();
}

/// The first of each payload.
fn first_of_each(payloads: &[String]) -> Vec<&str> {
    let mut seen: Vec<&str> = Vec::new();
    for payload in payloads {
        if !seen.contains(&payload.as_str()) {
            seen.push(payload);
        }
    }
    seen
}

#[test]
fn qos_2_to_the_server_arrives_once() {
    for version in VERSIONS {
        let start = |pair: &mut Pair| publish_two(pair, QoS::ExactlyOnce);
        let bytes = lose_everywhere(version, start, |pair| {
            assert_eq!(pair.server.delivered, ["one", "two"]);
            let done = [(0, ReasonCode::Success), (1, ReasonCode::Success)];
            assert_eq!(pair.published(), done);
            assert!(pair.client.session().is_settled());
        });
        assert!(bytes >= 2 * (10 + 4 + 4 + 4), "{bytes} bytes");
    }
}

#[test]
fn qos_2_to_the_client_arrives_once() {
    for version in VERSIONS {
        let start = |pair: &mut Pair| serve_two(pair, QoS::ExactlyOnce);
        lose_everywhere(version, start, |pair| {
            assert_eq!(pair.messages(), ["one", "two"]);
            assert_eq!(pair.server.open(), 0);
            let is_release = |event: &&Event| matches!(event, Event::Released { .. });
            assert_eq!(pair.events.iter().filter(is_release).count(), 2);
        });
    }
}

#[test]
fn qos_1_to_the_server_arrives_at_least_once_and_says_so() {
    for version in VERSIONS {
        let start = |pair: &mut Pair| publish_two(pair, QoS::AtLeastOnce);
        lose_everywhere(version, start, |pair| {
            assert_eq!(first_of_each(&pair.server.delivered), ["one", "two"]);
            let done = [(0, ReasonCode::Success), (1, ReasonCode::Success)];
            assert_eq!(pair.published(), done);
            for (at, arrival) in pair.server.arrivals.iter().enumerate() {
                let before = &pair.server.arrivals[..at];
                let again = before.iter().any(|old| old.packet_id == arrival.packet_id);
                assert!(arrival.dup || !again, "{:?}", pair.server.arrivals);
            }
        });
    }
}

#[test]
fn qos_1_to_the_client_arrives_at_least_once() {
    for version in VERSIONS {
        let start = |pair: &mut Pair| serve_two(pair, QoS::AtLeastOnce);
        lose_everywhere(version, start, |pair| {
            assert_eq!(first_of_each(&pair.messages()), ["one", "two"]);
            assert_eq!(pair.server.open(), 0);
        });
    }
}

#[test]
fn what_is_sent_again_keeps_its_packet_identifier_and_its_place() {
    let mut pair = Pair::connected(ProtocolVersion::V5);
    pair.server.withholds = true;
    for payload in ["a", "b", "c"] {
        pair.publish(payload, QoS::AtLeastOnce);
    }
    pair.connect();
    pair.publish("d", QoS::AtLeastOnce);
    pair.server.give_way();
    pair.run();
    let arrivals = &pair.server.arrivals;
    let arrived = |a: &Arrival| (a.packet_id, a.dup, a.payload.clone());
    let expected = [
        (1, false, "a"),
        (2, false, "b"),
        (3, false, "c"),
        (1, true, "a"),
        (2, true, "b"),
        (3, true, "c"),
        (4, false, "d"),
    ];
    let expected = expected.map(|(id, dup, payload)| (id, dup, payload.to_owned()));
    assert_eq!(arrivals.iter().map(arrived).collect::<Vec<_>>(), expected);
    assert_eq!(pair.published().len(), 4);
}

#[test]
fn messages_of_a_client_without_connection_wait_for_it() {
    let mut pair = Pair::connected(ProtocolVersion::V311);
    pair.cut();
    for (payload, qos) in [
        ("0", QoS::AtMostOnce),
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
    ] {
        pair.publish(payload, qos);
    }
    assert_eq!(pair.client.session().waiting(), 3);
    pair.connect();
    pair.server.delivered.sort();
    assert_eq!(pair.server.delivered, ["0", "1", "2"]);
    assert!(pair.client.session().is_settled());
}

#[test]
fn a_lost_session_begins_anew() {
    let mut pair = Pair::connected(ProtocolVersion::V311);
    pair.publish("stored", QoS::ExactlyOnce);
    pair.server.withholds = true;
    pair.publish("untaken", QoS::ExactlyOnce);
    pair.server.withholds = false;
    pair.cut();
    pair.server.forget_session();
    pair.connect();
    assert_eq!(pair.sessions_present(), [false, false]);
    // The Server that forgot the first copy gets the message as a new one: no DUP.
    let last = pair.server.arrivals.last().unwrap();
    assert_eq!((last.payload.as_str(), last.dup), ("untaken", false));
    let done = [(0, ReasonCode::Success), (1, ReasonCode::Success)];
    assert_eq!(pair.published(), done);
}

#[test]
fn a_message_that_the_server_had_taken_is_not_published_again_in_a_new_session() {
    let mut pair = Pair::connected(ProtocolVersion::V5);
    // PUBLISH, and the PUBREC for it, but not the PUBREL.
    pair.lose_after(13 + 4);
    pair.publish("taken", QoS::ExactlyOnce);
    assert!(pair.is_cut());
    pair.server.forget_session();
    pair.connect();
    assert_eq!(pair.server.delivered, ["taken"]);
    assert_eq!(pair.published(), [(0, ReasonCode::Success)]);
    assert!(pair.client.session().is_settled());
}

#[test]
fn packet_identifiers_of_a_lost_session_are_new_again() {
    let mut pair = Pair::connected(ProtocolVersion::V5);
    // The client holds the message, and the Server never hears of it.
    pair.lose_after(11);
    pair.server.publish("t", "old", QoS::ExactlyOnce);
    pair.run();
    assert!(pair.is_cut());
    pair.server.forget_session();
    pair.connect();
    pair.server.publish("t", "new", QoS::ExactlyOnce);
    pair.run();
    assert_eq!(pair.messages(), ["old", "new"]);
    assert_eq!(pair.server.open(), 0);
}
