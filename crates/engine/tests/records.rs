//! What batches hold: the durable effects of one packet together, and nothing else.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use bench::{AS_PUBLISHED, At, Cluster, Hello, IF_NEW, Message, NO_BATCHES, NO_LOCAL, NOTHING};
use dunlin_engine::partition_of;
use dunlin_engine::record::Record;
use dunlin_packet::ReasonCode;

/// One worker, and a publisher whose Session ends with its connection.
fn durable() -> (Cluster, At) {
    let mut c = Cluster::new(1).durable();
    let publisher = c.v5("p");
    c.forget();
    (c, publisher)
}

#[test]
fn a_session_that_is_kept_is_a_record() {
    let (mut c, _) = durable();
    let at = c.connect(&Hello::v5("s").kept(100));
    assert_eq!(c.batches(), [["session s expiry 100"]]);
    c.lose(at);
    c.connect(&Hello::v5("s").kept(100));
    assert_eq!(c.batches(), NO_BATCHES);
    let at = c.connect(&Hello::v5("s").kept(200));
    assert_eq!(c.batches(), [["session s expiry 200"]]);
    c.disconnect_with(at, ReasonCode::NormalDisconnection, Some(300));
    assert_eq!(c.batches(), [["session s expiry 300"]]);
    c.wait(300);
    assert_eq!(c.batches(), [["session-ended s"]]);
    c.connect(&Hello::v311("older").kept(0));
    assert_eq!(c.batches(), [["session older expiry 4294967295"]]);
}

#[test]
fn a_session_is_bound_to_its_user() {
    let (mut c, _) = durable();
    c.connect(&Hello::v5("s").kept(100).user("u"));
    assert_eq!(c.batches(), [["session s expiry 100 user u"]]);
}

#[test]
fn a_session_that_is_not_kept_leaves_nothing() {
    let (mut c, publisher) = durable();
    let at = c.v5("s");
    c.subscribe_as(at, "t", 2, 7);
    for qos in 0..=2 {
        c.publish(publisher, "t", "hi", qos);
        c.publish(at, "u", "hi", qos);
    }
    c.unsubscribe(at, "t");
    c.disconnect(at);
    assert_eq!(c.batches(), NO_BATCHES);
}

#[test]
fn a_subscription_is_recorded_with_options_and_identifier() {
    let (mut c, _) = durable();
    let at = c.kept("s");
    c.forget();
    c.subscribe_as(at, "t/#", 1 | NO_LOCAL | AS_PUBLISHED | IF_NEW, 7);
    assert_eq!(c.batches(), [["subscription s t/# 0x1d id 7"]]);
    c.subscribe_all(at, &[("u", 0), ("a#", 0), ("$share/g/t", 2)], 0);
    let both = [
        "subscription s $share/g/t 0x02 id 0",
        "subscription s u 0x00 id 0",
    ];
    assert_eq!(c.batches(), [both]);
    c.unsubscribe_all(at, &["u", "none", "t/#"]);
    let both = ["subscription-ended s t/#", "subscription-ended s u"];
    assert_eq!(c.batches(), [both]);
}

#[test]
fn a_message_is_one_body_and_a_place_in_every_queue() {
    let (mut c, publisher) = durable();
    let one = c.kept("one");
    c.subscribe_as(one, "t", 2, 7);
    c.subscribe_as(one, "+", 1, 8);
    c.lose(one);
    c.away("two", "t", 1 | AS_PUBLISHED);
    c.away("three", "t", 0);
    c.forget();
    c.publish(publisher, "t", "hi", 2);
    let expected = [
        "body t=hi q2 from p",
        "queued one #0 q2 ids[7, 8]",
        "queued two #0 q1",
    ];
    assert_eq!(c.batches(), [expected]);
    c.publish(publisher, "t", "more", 1);
    let expected = [
        "body t=more q1 from p",
        "queued one #1 q1 ids[7, 8]",
        "queued two #1 q1",
    ];
    assert_eq!(c.batches(), [expected]);
    c.publish(publisher, "t", "less", 0);
    assert_eq!(c.batches(), NO_BATCHES);
    c.retain(publisher, "t", "kept", 1);
    let expected = [
        "body t=kept q1 retain from p",
        "queued one #2 q1 ids[7, 8]",
        "queued two #2 q1 retain",
        "retained t v1",
    ];
    assert_eq!(c.batches(), [expected]);
}

#[test]
fn a_place_in_a_queue_names_its_body_by_origin() {
    let (mut c, publisher) = durable();
    c.away("one", "t", 1);
    c.forget();
    let mut origins = Vec::new();
    for n in 0..3 {
        c.retain(publisher, "t", n.to_string(), 1);
        for batch in c.raw_batches() {
            let of = |record: &Record| match record {
                Record::Body { message } => Some(message.origin),
                Record::Queued { origin, .. } | Record::Retained { origin, .. } => Some(*origin),
                _ => None,
            };
            let mut found: Vec<_> = batch.records.iter().filter_map(of).collect();
            assert_eq!(found.len(), 3);
            found.dedup();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].partition, partition_of(b"p"));
            origins.extend(found);
        }
    }
    assert_eq!(origins.len(), 3);
    assert!(origins[0] < origins[1] && origins[1] < origins[2]);
}

#[test]
fn the_id_of_a_qos_2_publisher_is_held_from_publish_to_pubrel() {
    let (mut c, _) = durable();
    c.away("s", "t", 1);
    let publisher = c.kept("kept");
    c.forget();
    c.publish_with(publisher, &Message::new("nobody", "hi", 2).id(7));
    assert_eq!(c.batches(), [["held kept 7"], ["held-ended kept 7"]]);
    c.publish_with(publisher, &Message::new("t", "hi", 2).id(8));
    let batches = c.batches();
    let first = ["body t=hi q2 from kept", "held kept 8", "queued s #0 q1"];
    assert_eq!(batches[0], first);
    assert_eq!(batches[1..], [["held-ended kept 8"]]);
    assert_eq!(c.disk("held"), NOTHING);
}

/// QoS 1 has no PUBREL that would end it.
#[test]
fn the_id_of_a_qos_1_publisher_is_not_held() {
    let (mut c, _) = durable();
    let publisher = c.kept("kept");
    c.forget();
    c.publish(publisher, "nobody", "hi", 1);
    assert_eq!(c.batches(), NO_BATCHES);
    assert_eq!(c.disk("held"), NOTHING);
}

#[test]
fn a_message_stays_recorded_until_it_is_acknowledged() {
    let (mut c, publisher) = durable();
    let at = c.connect(&Hello::v5("s").kept(100).silent());
    c.subscribe(at, "t", 2);
    c.publish(publisher, "t", "one", 1);
    c.publish(publisher, "t", "two", 2);
    c.forget();
    assert_eq!(c.disk("queued"), ["queued s #0 q1", "queued s #1 q2"]);
    c.puback(at, 1);
    assert_eq!(c.batches(), [["queued-ended s #0"]]);
    c.pubrec(at, 2);
    assert_eq!(c.batches(), [["released s #1"]]);
    assert_eq!(c.disk("queued"), NOTHING);
    assert_eq!(c.disk("released"), ["released s #1"]);
    c.pubcomp(at, 2);
    assert_eq!(c.batches(), [["queued-ended s #1"]]);
    assert_eq!(c.disk("released"), NOTHING);
}

#[test]
fn a_message_that_expires_in_its_queue_is_not_recorded_any_more() {
    let (mut c, publisher) = durable();
    c.away("s", "t", 1);
    c.publish_with(publisher, &Message::new("t", "hi", 1).expiry(10));
    c.wait(20);
    c.forget();
    c.kept("s");
    assert_eq!(c.batches(), [["queued-ended s #0"]]);
}

#[test]
fn retained_messages_are_recorded_at_any_qos() {
    let (mut c, publisher) = durable();
    c.retain(publisher, "t", "one", 0);
    let set = ["body t=one q0 retain from p", "retained t v1"];
    assert_eq!(c.batches(), [set]);
    c.retain(publisher, "t", "", 1);
    assert_eq!(c.batches(), [["retained-ended t v2"]]);
    c.retain(publisher, "t", "", 0);
    assert_eq!(c.batches(), NO_BATCHES);
    let message = Message::new("t", "two", 1).retain().expiry(10);
    c.publish_with(publisher, &message);
    assert_eq!(c.disk("retained"), ["retained t v4"]);
    c.forget();
    c.wait(10);
    assert_eq!(c.batches(), [["retained-ended t v4"]]);
}

#[test]
fn a_will_is_recorded_whatever_the_life_of_its_session() {
    let (mut c, _) = durable();
    let will = Message::new("w", "gone", 1).retain().delay(5);
    let at = c.connect(&Hello::v5("s").will(will));
    assert_eq!(c.batches(), [["will s w=gone q1 retain delay 5"]]);
    c.disconnect(at);
    assert_eq!(c.batches(), [["will-ended s"]]);
    let will = Message::new("w", "gone", 1);
    c.connect(&Hello::v5("s").kept(100).will(will));
    let both = ["session s expiry 100", "will s w=gone q1 delay 0"];
    assert_eq!(c.batches(), [both]);
}

#[test]
fn a_will_that_is_published_is_one_batch_with_its_end() {
    let (mut c, _) = durable();
    c.away("watcher", "w", 1);
    let will = Message::new("w", "gone", 1).retain();
    let at = c.connect(&Hello::v5("s").will(will));
    c.forget();
    c.lose(at);
    let expected = [
        "body w=gone q1 retain from s",
        "queued watcher #0 q1",
        "retained w v1",
        "will-ended s",
    ];
    assert_eq!(c.batches(), [expected]);
}

#[test]
fn a_will_that_its_client_came_back_for_is_not_recorded_any_more() {
    let (mut c, _) = durable();
    let will = Message::new("w", "gone", 1).delay(50);
    let hello = Hello::v5("s").kept(100).will(will);
    let at = c.connect(&hello);
    c.lose(at);
    c.kept("s");
    assert_eq!(c.disk("will"), NOTHING);
    // The same where the client comes before its old connection is known to be lost.
    c.connect(&hello);
    c.kept("s");
    assert_eq!(c.disk("will"), NOTHING);
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    for end in ["expiry", "Clean Start"] {
        let (mut c, publisher) = durable();
        let at = c.connect(&Hello::v5("s").kept(100).silent());
        c.subscribe(at, "t", 1);
        c.publish(publisher, "t", "hi", 1);
        c.publish_with(at, &Message::new("u", "hi", 2).id(9));
        // Session, Subscription, body and place in the queue, QoS 2 id.
        assert_eq!(c.disk("").len(), 5);
        c.lose(at);
        if end == "expiry" {
            c.wait(100);
        } else {
            c.v5("s");
        }
        let left = c.disk("");
        let bodies = left.iter().filter(|line| line.starts_with("body"));
        assert_eq!(bodies.count(), left.len(), "{end}: {left:?}");
    }
}

#[test]
fn a_session_that_disconnect_ends_leaves_nothing_behind() {
    let (mut c, publisher) = durable();
    let at = c.connect(&Hello::v5("s").kept(100).silent());
    c.subscribe(at, "t", 1);
    c.publish(publisher, "t", "hi", 1);
    c.disconnect_with(at, ReasonCode::NormalDisconnection, Some(0));
    for kind in ["session", "subscription", "queued"] {
        assert_eq!(c.disk(kind), NOTHING);
    }
}

#[test]
fn a_session_that_is_no_longer_kept_leaves_nothing_behind() {
    let (mut c, _) = durable();
    c.away("s", "t", 1);
    let at = c.connect(&Hello::v5("s").kept(0));
    c.lose(at);
    for kind in ["session", "subscription"] {
        assert_eq!(c.disk(kind), NOTHING);
    }
}

/// Two workers: a publisher on the first, a Session that is away on each, a topic of the second.
fn two_workers() -> (Cluster, At, String) {
    let mut c = Cluster::new(2).durable();
    let topic = c.name_on(1, "t");
    let publisher = c.name_on(0, "p");
    let publisher = c.v5(&publisher);
    for worker in 0..2 {
        let away = c.name_on(worker, &format!("s{worker}-"));
        c.away(&away, &topic, 1);
    }
    c.forget();
    (c, publisher, topic)
}

/// The kinds of records in each batch, sorted.
fn kinds(c: &mut Cluster) -> Vec<Vec<String>> {
    let kind = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let batches = c.batches();
    batches
        .iter()
        .map(|b| b.iter().map(kind).collect())
        .collect()
}

#[test]
fn the_fragments_of_all_workers_are_one_batch() {
    let (mut c, publisher, topic) = two_workers();
    c.hold_mail();
    for n in 1..=3 {
        c.retain(publisher, &topic, n.to_string(), 1);
    }
    assert_eq!(c.batches(), NO_BATCHES);
    assert_eq!(c.acks(publisher).len(), 0);
    c.settle();
    let batches = c.raw_batches();
    let bodies: Vec<String> = batches
        .iter()
        .flat_map(|batch| &batch.records)
        .filter_map(|record| match record {
            Record::Body { message } => {
                Some(String::from_utf8_lossy(message.payload()).into_owned())
            }
            _ => None,
        })
        .collect();
    assert_eq!(bodies, ["1", "2", "3"]);
    let sessions: Vec<u16> = batches
        .iter()
        .flat_map(|batch| &batch.records)
        .filter(|record| matches!(record, Record::Queued { .. }))
        .map(|record| record.partition() % 2)
        .collect();
    assert_eq!(sessions, [0, 1, 0, 1, 0, 1]);
    assert!(batches.iter().all(|batch| batch.records.len() == 4));
    let ids: Vec<u16> = c.acks(publisher).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn batches_leave_in_the_order_of_the_publishers_packets() {
    let (mut c, publisher, topic) = two_workers();
    let local = c.name_on(0, "local-");
    c.away(&local, "u", 1);
    c.forget();
    c.hold_mail();
    c.publish(publisher, &topic, "waits for a fragment", 1);
    c.publish(publisher, "u", "waits for nothing but its turn", 1);
    assert_eq!(c.batches(), NO_BATCHES);
    c.settle();
    let expected = [vec!["body", "queued", "queued"], vec!["body", "queued"]];
    assert_eq!(kinds(&mut c), expected);
}

/// What a publisher has sent is routed and recorded whether or not it is still there.
#[test]
fn the_effects_of_a_publisher_that_has_gone_are_recorded() {
    for leave in [Cluster::lose, Cluster::disconnect] {
        let (mut c, publisher, topic) = two_workers();
        let local = c.name_on(0, "local-");
        c.away(&local, "u", 1);
        c.forget();
        c.hold_mail();
        c.publish(publisher, &topic, "waits for a fragment", 1);
        c.publish(publisher, "u", "waits for its turn", 1);
        c.retain(publisher, "u", "waits for its turn", 0);
        leave(&mut c, publisher);
        c.settle();
        let mut kinds = kinds(&mut c).concat();
        kinds.sort();
        let expected = [
            "body", "body", "body", "queued", "queued", "queued", "retained",
        ];
        assert_eq!(kinds, expected);
    }
}

/// A subscriber that acknowledges before the publisher's batch has left must not leave its message
/// in the store for ever.
#[test]
fn an_early_acknowledgement_leaves_no_record() {
    for (worker, qos) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let (mut c, publisher, topic) = two_workers();
        let subscriber = c.name_on(worker, "here-");
        let subscriber = c.kept(&subscriber);
        c.subscribe(subscriber, &topic, qos);
        c.forget();
        c.hold_mail();
        c.publish(publisher, &topic, "hi", qos);
        c.deliver(0, 1, 9);
        c.settle();
        assert_eq!(c.payloads(subscriber), ["hi"]);
        assert_eq!(c.acks(publisher).len(), 1);
        // Those of the two that are away.
        let left = [c.disk("queued"), c.disk("released")].concat();
        assert_eq!(left.len(), 2, "QoS {qos} on worker {worker}: {left:?}");
    }
}

#[test]
fn a_shared_message_that_moves_on_is_one_batch() {
    let (mut c, publisher) = durable();
    let hello = |id: &str| Hello::v5(id).kept(100).silent();
    let (one, two) = (c.connect(&hello("one")), c.connect(&hello("two")));
    for at in [one, two] {
        c.subscribe(at, "$share/g/t", 1);
    }
    c.forget();
    c.publish(publisher, "t", "hi", 1);
    assert_eq!(c.payloads(one), ["hi"]);
    assert_eq!(c.batches().len(), 1);
    c.lose(one);
    assert_eq!(c.payloads(two), ["hi"]);
    let batches = c.batches();
    assert_eq!(batches.len(), 1);
    let has = |start: &str| batches[0].iter().any(|line| line.starts_with(start));
    assert!(
        has("queued two #0 q1") && has("queued-ended one #0"),
        "{batches:?}"
    );
    assert_eq!(c.disk("queued").len(), 1);
}

#[test]
fn a_shared_message_remembers_by_which_subscription_it_came() {
    let (mut c, publisher) = durable();
    c.away("one", "$share/g/t", 1);
    c.forget();
    c.publish(publisher, "t", "hi", 1);
    let expected = ["body t=hi q1 from p", "queued one #0 q1 share g/t"];
    assert_eq!(c.batches(), [expected]);
}
