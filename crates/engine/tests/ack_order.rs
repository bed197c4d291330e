//! Acknowledgements against a store that answers late, out of step and with errors: none leaves
//! before what it promises is safe, and those of a kind leave in the order of their packets.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use std::collections::{BTreeMap, VecDeque};

use bench::{At, Cluster, Dice, Hello, Message, NOTHING};
use dunlin_engine::limits::WAITING_ACKS_MAX;
use dunlin_engine::record::StoreError;
use dunlin_packet::PacketType;

/// One worker, a Session that is away and asked for `t`, and a store that answers when it is told.
fn late() -> Cluster {
    let mut c = Cluster::new(1).durable();
    c.away("away", "t", 2);
    c.hold_answers();
    c
}

/// A publisher that acknowledges nothing by itself; its Session ends with its connection.
fn publisher(c: &mut Cluster) -> At {
    let at = c.connect(&Hello::v5("publisher").silent());
    c.forget();
    at
}

/// The same with a Session that is kept.
fn kept_publisher(c: &mut Cluster) -> At {
    let at = c.connect(&Hello::v5("publisher").kept(100).silent());
    c.answer_all();
    c.forget();
    at
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_packets() {
    for (qos, name) in [(1, "puback"), (2, "pubrec")] {
        for seed in 0..50 {
            let mut dice = Dice::new(seed);
            let mut c = late();
            let at = publisher(&mut c);
            for n in 0..8 {
                c.publish(at, "t", n.to_string(), qos);
            }
            let mut waiting: Vec<usize> = (1..=8).collect();
            let mut got = Vec::new();
            while !waiting.is_empty() {
                assert_eq!(c.pending(0), waiting.len());
                let chosen = dice.below(waiting.len());
                waiting.remove(chosen);
                c.answer(0, chosen, Ok(()));
                got.extend(c.wire(at));
                let safe = waiting.first().map_or(8, |first| first - 1);
                let acked: Vec<String> = (1..=safe).map(|id| format!("{name} {id}")).collect();
                assert_eq!(got, acked, "seed {seed}");
            }
        }
    }
}

#[test]
fn kinds_do_not_wait_for_each_other() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    c.publish(at, "t", "one", 1);
    c.publish(at, "t", "two", 2);
    c.subscribe(at, "u", 1);
    assert_eq!(c.pending(0), 3);
    assert_eq!(c.wire(at), NOTHING);
    c.answer(0, 2, Ok(()));
    assert_eq!(c.wire(at), ["suback 3 [01]"]);
    c.answer(0, 1, Ok(()));
    assert_eq!(c.wire(at), ["pubrec 2"]);
    c.answer(0, 0, Ok(()));
    assert_eq!(c.wire(at), ["puback 1"]);
}

#[test]
fn what_is_not_durable_is_acknowledged_at_once() {
    let mut c = late();
    let (at, other) = (publisher(&mut c), c.v5("other"));
    c.subscribe(other, "u", 1);
    c.unsubscribe(other, "v");
    let answers = ["connack", "suback 1 [01]", "unsuback 2 [11]"];
    assert_eq!(c.answers(other), answers);
    c.publish(at, "u", "one", 1);
    c.publish(at, "u", "two", 2);
    c.publish(at, "v", "nobody", 1);
    assert_eq!(c.wire(at), ["puback 1", "pubrec 2", "puback 3 0x10"]);
    assert_eq!(c.pending(0), 0);
}

/// An acknowledgement that waits for nothing still stands behind those of its kind that do.
#[test]
fn what_is_not_durable_waits_for_its_turn() {
    let mut c = late();
    let at = publisher(&mut c);
    c.publish(at, "t", "durable", 1);
    c.publish(at, "u", "nobody", 1);
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["puback 1", "puback 2 0x10"]);
}

#[test]
fn pubcomp_waits_for_the_removal_of_the_id() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    c.publish(at, "t", "hi", 2);
    c.answer_all();
    assert_eq!(c.wire(at), ["pubrec 1"]);
    c.pubrel(at, 1);
    assert_eq!(c.pending(0), 1);
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["pubcomp 1"]);
}

#[test]
fn pubrel_waits_for_the_receipt_of_pubrec() {
    let mut c = late();
    let at = publisher(&mut c);
    let subscriber = c.connect(&Hello::v5("away").kept(3600).silent());
    c.publish(at, "t", "hi", 2);
    c.answer_all();
    assert_eq!(c.wire(subscriber), ["connack present", "t=hi q2"]);
    c.pubrec(subscriber, 1);
    assert_eq!(c.pending(0), 1);
    assert_eq!(c.wire(subscriber), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(subscriber), ["pubrel 1"]);
}

#[test]
fn suback_and_unsuback_wait_for_the_changed_subscriptions() {
    let mut c = late();
    let at = c.connect(&Hello::v5("away").kept(3600));
    c.forget();
    c.subscribe(at, "u", 1);
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["suback 1 [01]"]);
    c.unsubscribe(at, "u");
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["unsuback 2 [00]"]);
}

#[test]
fn retained_messages_come_behind_suback() {
    let mut c = late();
    let at = publisher(&mut c);
    c.retain(at, "r", "kept", 0);
    let subscriber = c.connect(&Hello::v5("away").kept(3600));
    c.forget();
    c.subscribe(subscriber, "r", 1);
    assert_eq!(c.wire(subscriber), NOTHING);
    c.answer_all();
    let expected = ["suback 1 [01]", "r=kept q0 retain"];
    assert_eq!(c.wire(subscriber), expected);
}

#[test]
fn connack_waits_for_the_creation_of_the_session_and_all_else_for_connack() {
    let mut c = late();
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "#", 0);
    let early = Message::new("u", "early", 0);
    let hello = Hello::v5("new").kept(100).then(&early.packet(0));
    let at = c.connect(&hello);
    assert_eq!(c.wire(at), NOTHING);
    assert_eq!(c.received(watcher), NOTHING);
    c.publish(at, "u", "late", 0);
    assert_eq!(c.received(watcher), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["connack"]);
    assert_eq!(c.received(watcher), ["u=early q0", "u=late q0"]);

    // Nothing changes in the store: nothing waits.
    c.lose(at);
    let at = c.connect(&Hello::v5("new").kept(100));
    assert_eq!(c.wire(at), ["connack present"]);
}

#[test]
fn connack_waits_for_the_end_of_the_old_session() {
    let mut c = late();
    let at = c.v5("away");
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["connack"]);
}

#[test]
fn connack_waits_for_the_will() {
    let mut c = late();
    let will = Message::new("will", "gone", 1);
    let at = c.connect(&Hello::v5("dying").will(will));
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["connack"]);
}

#[test]
fn a_store_error_is_told_to_5_0_publishers() {
    for (error, code) in [
        (StoreError::Io, "0x80"),
        (StoreError::Full, "0x97"),
        (StoreError::Unavailable, "0x80"),
    ] {
        let mut c = late();
        let at = publisher(&mut c);
        c.publish(at, "t", "one", 1);
        c.publish_with(at, &Message::new("t", "two", 2).id(7));
        c.answer(0, 0, Err(error));
        c.answer(0, 0, Err(error));
        let expected = [format!("puback 1 {code}"), format!("pubrec 7 {code}")];
        assert_eq!(c.wire(at), expected);
        // The exchange has ended, so the id is free for the next message.
        c.publish_with(at, &Message::new("t", "three", 2).id(7));
        assert_eq!(c.pending(0), 1);
        c.answer_all();
        assert_eq!(c.wire(at), ["pubrec 7"]);
    }
}

#[test]
fn a_store_error_ends_older_connections_without_acknowledgement() {
    for hello in [Hello::v311("older"), Hello::v31("older")] {
        for qos in 1..=2 {
            let mut c = late();
            let at = c.connect(&hello);
            c.forget();
            c.publish(at, "t", "one", qos);
            c.publish(at, "t", "two", qos);
            c.answer(0, 1, Ok(()));
            c.answer(0, 0, Err(StoreError::Full));
            assert_eq!(c.wire(at), ["closed"]);
        }
    }
}

#[test]
fn a_store_error_is_told_in_suback_and_ends_what_has_no_code() {
    let mut c = late();
    let at = c.connect(&Hello::v5("away").kept(3600));
    c.forget();
    c.subscribe_all(at, &[("u", 1), ("v", 2)], 0);
    c.answer(0, 0, Err(StoreError::Io));
    assert_eq!(c.wire(at), ["suback 1 [80, 80]"]);
    c.unsubscribe(at, "t");
    c.answer(0, 0, Err(StoreError::Io));
    assert_eq!(c.wire(at), ["disconnect 0x80", "closed"]);

    let mut c = late();
    let at = kept_publisher(&mut c);
    c.publish(at, "t", "hi", 2);
    c.answer_all();
    c.pubrel(at, 1);
    c.answer(0, 0, Err(StoreError::Io));
    assert_eq!(c.wire(at), ["pubrec 1", "disconnect 0x80", "closed"]);
}

#[test]
fn a_store_error_refuses_the_connection() {
    for hello in [Hello::v5("new"), Hello::v311("new")] {
        let mut c = late();
        let at = c.connect(&hello.kept(100));
        c.answer(0, 0, Err(StoreError::Io));
        let answers = c.wire(at);
        assert_eq!(answers.last().map(String::as_str), Some("closed"));
        assert!(!answers.iter().any(|answer| answer == "connack"));
    }
}

#[test]
fn qos_1_is_delivered_while_it_is_being_written() {
    let mut c = late();
    let at = publisher(&mut c);
    let subscriber = c.connect(&Hello::v5("away").kept(3600));
    c.publish(at, "t", "hi", 1);
    assert_eq!(c.received(subscriber), ["t=hi q1"]);
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["puback 1"]);
}

#[test]
fn a_publisher_is_read_no_further_when_too_many_acknowledgements_wait() {
    let mut c = Cluster::new(1)
        .durable()
        .limits(|limits| limits.queue_messages_max = 0)
        .offer(|offer| offer.receive_maximum = u16::MAX);
    c.away("away", "t", 1);
    c.hold_answers();
    let at = publisher(&mut c);
    let expected: Vec<u16> = (1..=WAITING_ACKS_MAX as u16 + 900).collect();
    for id in &expected {
        c.push_message(at, &Message::new("t", id.to_string(), 1).id(*id));
    }
    c.run();
    assert_eq!(c.pending(0), WAITING_ACKS_MAX);
    assert!(c.unread(at) > 0);
    c.answer_all();
    assert_eq!(c.unread(at), 0);
    let acked: Vec<u16> = c.acks(at).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(acked, expected);
}

/// The client repeats a PUBLISH on a new connection while the first one is still being written.
#[test]
fn a_repeated_qos_2_publish_waits_for_the_first() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    let message = Message::new("t", "hi", 2).id(7);
    c.publish_with(at, &message);
    c.lose(at);
    let at = c.connect(&Hello::v5("publisher").kept(100).silent());
    c.forget();
    c.publish_with(at, &message.dup());
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    assert_eq!(c.wire(at), ["pubrec 7"]);
}

/// The repeated PUBLISH has its place among those of its connection.
#[test]
fn a_repeated_qos_2_publish_is_answered_in_its_turn() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    let message = Message::new("t", "first", 2).id(7);
    c.publish_with(at, &message);
    c.lose(at);
    let at = c.connect(&Hello::v5("publisher").kept(100).silent());
    c.forget();
    c.publish_with(at, &message.dup());
    c.publish_with(at, &Message::new("t", "second", 2).id(8));
    c.answer_all();
    assert_eq!(c.wire(at), ["pubrec 7", "pubrec 8"]);
}

/// What the store says of the first PUBLISH is the answer to the repeated one.
#[test]
fn a_repeated_qos_2_publish_is_told_when_the_first_has_failed() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    let message = Message::new("t", "hi", 2).id(7);
    c.publish_with(at, &message);
    c.lose(at);
    let at = c.connect(&Hello::v5("publisher").kept(100).silent());
    c.forget();
    c.publish_with(at, &message.dup());
    c.answer(0, 0, Err(StoreError::Io));
    assert_eq!(c.wire(at), ["pubrec 7 0x80"]);
}

/// The client repeats a PUBREL on a new connection while the id is still being removed.
#[test]
fn a_repeated_pubrel_waits_for_the_first() {
    let mut c = late();
    let at = kept_publisher(&mut c);
    c.publish_with(at, &Message::new("t", "hi", 2).id(7));
    c.answer_all();
    c.pubrel(at, 7);
    c.lose(at);
    let at = c.connect(&Hello::v5("publisher").kept(100).silent());
    c.forget();
    c.pubrel(at, 7);
    assert_eq!(c.wire(at), NOTHING);
    c.answer_all();
    let answers = c.wire(at);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].starts_with("pubcomp 7"), "{answers:?}");
}

/// PUBREL is owed on a new connection too, but not before the receipt is safe.
#[test]
fn pubrel_on_a_new_connection_waits_for_the_receipt() {
    let mut c = late();
    let at = publisher(&mut c);
    let hello = Hello::v5("away").kept(3600).silent();
    let subscriber = c.connect(&hello);
    c.publish(at, "t", "hi", 2);
    c.answer_all();
    c.pubrec(subscriber, 1);
    c.lose(subscriber);
    let subscriber = c.connect(&hello);
    assert_eq!(c.wire(subscriber), ["connack present"]);
    c.answer_all();
    assert_eq!(c.wire(subscriber), ["pubrel 1"]);
}

/// A SUBSCRIBE whose connection is lost before the store answers must not hold later ones back.
#[test]
fn a_lost_subscribe_does_not_hold_later_ones_back() {
    let mut c = late();
    let at = publisher(&mut c);
    c.retain(at, "r", "kept", 0);
    let subscriber = c.connect(&Hello::v5("away").kept(3600));
    c.subscribe(subscriber, "lost", 1);
    c.lose(subscriber);
    let subscriber = c.connect(&Hello::v5("away").kept(3600));
    c.answer_all();
    c.subscribe(subscriber, "r", 1);
    c.answer_all();
    assert_eq!(c.received(subscriber), ["r=kept q0 retain"]);
}

/// What publishers wait for, and the check that nothing is promised that is not kept.
#[derive(Default)]
struct Promises {
    /// Packet Identifiers and messages in the order of sending, by publisher and kind.
    open: BTreeMap<(At, bool), VecDeque<(u16, String)>>,
    kept: usize,
    refused: usize,
}

impl Promises {
    fn sent(&mut self, at: At, qos: u8, id: u16, message: String) {
        let lane = self.open.entry((at, qos == 2)).or_default();
        lane.push_back((id, message));
    }

    /// Compares what a publisher was told with what the stores have said up to now.
    fn check(&mut self, c: &mut Cluster, at: At, seed: u64) {
        for (packet_type, id, reason) in c.acks(at) {
            let kind = packet_type == PacketType::Pubrec;
            let lane = self.open.entry((at, kind)).or_default();
            let first = lane.pop_front().unwrap_or_default();
            assert_eq!(first.0, id, "seed {seed}: out of step");
            let (topic, fate) = (first.1.split('=').next(), c.fate(&first.1));
            let wanted = match reason {
                // A message for a Session that is away is durable, any other may be.
                0x00 => Some(Some(Ok(()))),
                0x10 if topic == Some("nobody") => fate.map(|_| Some(Ok(()))),
                0x97 => Some(Some(Err(StoreError::Full))),
                _ => Some(Some(Err(StoreError::Io))),
            };
            assert_eq!(
                fate, wanted,
                "seed {seed}: {} was told {reason:#04x}",
                first.1
            );
            if reason < 0x80 {
                self.kept += 1;
            } else {
                self.refused += 1;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.open.values().all(VecDeque::is_empty)
    }
}

/// Publishers and Sessions that are away on all workers, mail and answers in an order that the seed
/// chooses, one answer in five an error.
fn random_workload(seed: u64) -> Promises {
    let mut dice = Dice::new(seed);
    let workers = 1 + (seed % 3) as u16;
    let mut c = Cluster::new(workers).durable();
    let mut publishers = Vec::new();
    for worker in 0..workers {
        let (away, here) = (c.name_on(worker, "away"), c.name_on(worker, "publisher"));
        c.away(&away, "d/#", 2);
        publishers.push(c.v5(&here));
    }
    c.forget();
    c.hold_mail();
    c.hold_answers();
    let answer = |dice: &mut Dice| match dice.below(10) {
        0 => Err(StoreError::Io),
        1 => Err(StoreError::Full),
        _ => Ok(()),
    };
    let mut promises = Promises::default();
    for n in 0..80 {
        if dice.below(3) == 0 {
            let at = dice.pick(&publishers);
            let topic = dice.pick(&["d/1", "d/2", "d/2", "nobody"]);
            let qos = 1 + dice.below(2) as u8;
            let payload = format!("{topic}={n}");
            let mut message = Message::new(topic, &payload, qos);
            if dice.below(3) == 0 {
                message = message.retain();
            }
            let id = c.publish_with(at, &message);
            promises.sent(at, qos, id, payload);
        } else {
            c.step_with(&mut dice, answer);
        }
        for at in &publishers {
            promises.check(&mut c, *at, seed);
        }
    }
    while c.step_with(&mut dice, answer) {
        for at in &publishers {
            promises.check(&mut c, *at, seed);
        }
    }
    assert!(promises.is_empty(), "seed {seed}: {:?}", promises.open);
    promises
}

#[test]
fn nothing_is_acknowledged_that_was_not_committed() {
    let (mut kept, mut refused) = (0, 0);
    for seed in 0..200 {
        let promises = random_workload(seed);
        kept += promises.kept;
        refused += promises.refused;
    }
    assert!(
        kept > 1000 && refused > 200,
        "{kept} kept, {refused} refused"
    );
}
