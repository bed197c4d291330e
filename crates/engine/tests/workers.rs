//! Delivery over several workers: whatever the order in which their mail arrives, nothing is lost,
//! doubled or overtaken, and nobody waits for ever.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use std::collections::BTreeMap;

use bench::{At, Cluster, Dice, Hello, Message, NOTHING};
use dunlin_engine::DropReason;
use dunlin_engine::record::StoreError;

/// One client per worker, named after a stem.
fn one_per_worker(c: &mut Cluster, workers: u16, stem: &str) -> Vec<At> {
    let connect = |worker| {
        let name = c.name_on(worker, stem);
        c.v5(&name)
    };
    (0..workers).map(connect).collect()
}

/// Publishers on all workers, mail in an order that the seed chooses; returns what each subscriber
/// has got, and what it should.
fn random_delivery(seed: u64) {
    let mut dice = Dice::new(seed);
    let workers = 2 + (seed % 2) as u16;
    let mut c = Cluster::new(workers);
    if seed % 4 >= 2 {
        c = c.durable();
    }
    let publishers = one_per_worker(&mut c, workers, "publisher");
    let mut subscribers = Vec::new();
    for (stem, filter) in [("all", "t/#"), ("first", "t/0"), ("both", "t/+")] {
        for at in one_per_worker(&mut c, workers, stem) {
            let granted = dice.below(3) as u8;
            c.subscribe(at, filter, granted);
            subscribers.push((at, filter, granted));
        }
    }
    c.forget();
    c.hold_mail();
    // By publisher, topic and QoS, in order.
    let mut published: BTreeMap<(usize, &str, u8), Vec<String>> = BTreeMap::new();
    for n in 0..20 {
        for (publisher, at) in publishers.iter().enumerate() {
            let (topic, qos) = (dice.pick(&["t/0", "t/1"]), dice.below(3) as u8);
            let payload = format!("{publisher} {qos} {n}");
            c.publish(*at, topic, &payload, qos);
            let lane = published.entry((publisher, topic, qos)).or_default();
            lane.push(payload);
            for _ in 0..dice.below(4) {
                c.step(&mut dice);
            }
        }
    }
    while c.step(&mut dice) {}

    for (at, filter, granted) in subscribers {
        let mut got: BTreeMap<(usize, &str, u8), Vec<String>> = BTreeMap::new();
        for message in c.deliveries(at) {
            let text = message.text();
            let published_qos = text.as_bytes()[2] - b'0';
            assert_eq!(message.qos, published_qos.min(granted), "seed {seed}");
            let topic = if message.topic == "t/0" { "t/0" } else { "t/1" };
            let publisher = usize::from(text.as_bytes()[0] - b'0');
            let lane = got.entry((publisher, topic, published_qos)).or_default();
            lane.push(text);
        }
        let mut expected = published.clone();
        expected.retain(|(_, topic, _), _| filter != "t/0" || *topic == "t/0");
        assert_eq!(got, expected, "seed {seed}, {filter}");
    }
    for at in publishers {
        let acked: Vec<u8> = c.acks(at).iter().map(|(.., code)| *code).collect();
        assert_eq!(acked, vec![0; acked.len()], "seed {seed}");
        assert_eq!(c.unread(at), 0, "seed {seed}");
    }
}

#[test]
fn every_message_comes_once_and_in_order_whatever_the_mail_does() {
    (0..200).for_each(random_delivery);
}

#[test]
fn a_stale_handover_is_not_delivered_after_unsuback() {
    let mut c = Cluster::new(2);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.subscribe(subscriber, "t", 1);
    c.publish(publisher, "t", "resolves the topic", 1);
    c.forget();
    c.hold_mail();

    c.publish(publisher, "t", "stale", 1);
    c.unsubscribe(subscriber, "t");
    assert_eq!(c.answers(subscriber), ["unsuback 2 [00]"]);
    c.settle();
    assert_eq!(c.received(subscriber), NOTHING);

    // What another Subscription asks for still comes.
    c.subscribe(subscriber, "t", 1);
    c.subscribe(subscriber, "+", 1);
    c.settle();
    c.publish(publisher, "t", "wanted", 1);
    c.unsubscribe(subscriber, "t");
    c.settle();
    assert_eq!(c.received(subscriber), ["t=wanted q1"]);
    c.publish(publisher, "t", "next", 1);
    c.settle();
    assert_eq!(c.received(subscriber), ["t=next q1"]);
}

#[test]
fn a_stale_handover_does_not_reach_the_next_session_of_a_client() {
    let mut c = Cluster::new(2);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.subscribe(subscriber, "t", 1);
    c.hold_mail();
    c.publish(publisher, "t", "for the old one", 1);
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.settle();
    assert_eq!(c.received(subscriber), NOTHING);
}

/// Three workers: the owner of a topic, and a publisher and a subscriber elsewhere.
fn retained_bench() -> (Cluster, String, At, At) {
    let mut c = Cluster::new(3);
    let topic = c.name_on(0, "topic");
    let publisher = one_per_worker(&mut c, 3, "publisher")[1];
    let subscriber = one_per_worker(&mut c, 3, "subscriber")[2];
    (c, topic, publisher, subscriber)
}

#[test]
fn a_retained_message_is_found_from_every_worker_once_it_is_acknowledged() {
    let (mut c, topic, publisher, subscriber) = retained_bench();
    c.forget();
    c.hold_mail();
    c.retain(publisher, &topic, "kept", 1);
    assert_eq!(c.wire(publisher), NOTHING);
    c.deliver(1, 0, 1);
    c.deliver(0, 1, 9);
    assert_eq!(c.wire(publisher), ["puback 1 0x10"]);
    c.subscribe(subscriber, &topic, 1);
    c.settle();
    assert_eq!(c.received(subscriber), [format!("{topic}=kept q1 retain")]);
    for worker in 0..3 {
        let reader = c.name_on(worker, "reader");
        let reader = c.v5(&reader);
        c.subscribe(reader, "#", 0);
        c.settle();
        assert_eq!(c.received(reader), [format!("{topic}=kept q0 retain")]);
    }
}

#[test]
fn an_older_retained_message_is_not_sent_behind_a_newer_live_one() {
    let (mut c, topic, publisher, subscriber) = retained_bench();
    c.retain(publisher, &topic, "old", 1);
    c.hold_mail();
    c.subscribe(subscriber, &topic, 1);
    c.retain(publisher, &topic, "new", 1);
    // The owner answers before it hears of the change; the live copy comes before the answer.
    c.deliver(2, 0, 1);
    c.deliver(1, 2, 9);
    assert_eq!(c.received(subscriber), [format!("{topic}=new q1")]);
    c.settle();
    assert_eq!(c.received(subscriber), NOTHING);
}

#[test]
fn a_deleted_retained_message_does_not_come_back() {
    let (mut c, topic, publisher, subscriber) = retained_bench();
    let other = c.name_on(2, "other");
    let other = c.v5(&other);
    c.hold_mail();
    c.retain(publisher, &topic, "old", 1);
    c.retain(other, &topic, "", 1);
    // The deletion arrives before what it deletes.
    c.deliver(2, 0, 9);
    c.deliver(1, 0, 9);
    c.settle();
    assert_eq!(c.sum(|metrics| metrics.retained), 0);
    c.subscribe(subscriber, &topic, 1);
    c.settle();
    assert_eq!(c.received(subscriber), NOTHING);

    // The other way round, and with two values.
    c.retain(other, &topic, "first", 1);
    c.retain(publisher, &topic, "second", 1);
    c.deliver(1, 0, 9);
    c.settle();
    let late = c.v5("late");
    c.subscribe(late, &topic, 0);
    c.settle();
    assert_eq!(c.received(late), [format!("{topic}=second q0 retain")]);

    // Deletions are not remembered for ever.
    c.retain(publisher, &topic, "", 1);
    c.settle();
    assert!(c.next_timeout().is_some());
    c.wait(11);
    assert_eq!(c.next_timeout(), None);
}

/// SUBSCRIBE adds its route and then reads, so that no change falls between: also not one that was
/// routed before the Subscription and reaches the owner after its question.
#[test]
fn a_retained_change_on_its_way_reaches_a_subscription_made_meanwhile() {
    let (mut c, topic, publisher, subscriber) = retained_bench();
    c.retain(publisher, &topic, "old", 1);
    c.hold_mail();
    c.retain(publisher, &topic, "new", 1);
    c.subscribe(subscriber, &topic, 1);
    c.deliver(2, 0, 9);
    c.deliver(0, 2, 9);
    c.settle();
    let last = c.deliveries(subscriber).pop().map(|message| message.text());
    assert_eq!(last.as_deref(), Some("new"));
}

/// One publisher for each topic, and Subscriptions made while it publishes: what a subscriber sees
/// of a topic never goes back in time: no retained copy comes behind a newer message.
fn random_retained(seed: u64) {
    let mut dice = Dice::new(seed);
    let workers = 2 + (seed % 2) as u16;
    let mut c = Cluster::new(workers).limits(|limits| limits.retained_chunk = 2);
    let publishers = one_per_worker(&mut c, workers, "publisher");
    let mut subscribers = Vec::new();
    for stem in ["one", "two", "three"] {
        subscribers.extend(one_per_worker(&mut c, workers, stem));
    }
    let mut unsubscribed = subscribers.clone();
    let topics: Vec<String> = (0..workers * 2).map(|n| format!("t/{n}")).collect();
    c.hold_mail();
    for n in 0..40 {
        let at = dice.below(topics.len());
        let publisher = publishers[at % publishers.len()];
        let payload = match dice.below(5) {
            0 => String::new(),
            _ => format!("{n:02}"),
        };
        c.retain(publisher, &topics[at], payload, dice.below(3) as u8);
        if dice.below(4) == 0
            && let Some(subscriber) = unsubscribed.pop()
        {
            let filter = dice.pick(&["t/#", "t/0", "t/1"]);
            c.subscribe(subscriber, filter, 1);
        }
        for _ in 0..dice.below(4) {
            c.step(&mut dice);
        }
    }
    while c.step(&mut dice) {}
    for subscriber in subscribers {
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        for message in c.deliveries(subscriber) {
            let (text, retained) = (message.text(), message.retain);
            let before = newest.entry(message.topic).or_default();
            // What comes live is owed, whatever came before it.
            let backwards = retained && !text.is_empty() && text < *before;
            assert!(!backwards, "seed {seed}: {text} behind {before}");
            if !text.is_empty() {
                *before = text;
            }
        }
    }
}

#[test]
fn what_a_subscriber_sees_of_a_topic_never_goes_back() {
    (0..200).for_each(random_retained);
}

/// Two workers whose queues hold one message, publishers on both, subscribers on the other side.
fn tight_queues(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut c = Cluster::new(2).limits(|limits| limits.worker_queue_max = 1);
    if seed % 2 == 1 {
        c = c.durable();
    }
    let publishers = one_per_worker(&mut c, 2, "publisher");
    let subscribers = one_per_worker(&mut c, 2, "subscriber");
    for (at, filter) in subscribers.iter().zip(["to/0", "to/1"]) {
        c.subscribe(*at, filter, 2);
    }
    c.forget();
    c.hold_mail();
    for n in 0..50 {
        for (at, topic) in publishers.iter().zip(["to/1", "to/0"]) {
            let message = Message::new(topic, n.to_string(), (n % 3) as u8);
            c.push_message(*at, &message);
        }
    }
    c.run();
    while c.step(&mut dice) {
        assert!(
            c.mail_waiting(0, 1) + c.mail_waiting(1, 0) <= 8,
            "seed {seed}"
        );
    }
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for at in subscribers {
        assert_eq!(c.payloads(at), expected, "seed {seed}");
    }
    for at in publishers {
        assert!(c.pauses(at) >= 49, "seed {seed}: {} pauses", c.pauses(at));
        assert!(!c.is_paused(at), "seed {seed}");
        assert_eq!(c.unread(at), 0, "seed {seed}");
        assert_eq!(c.acks(at).len(), 33, "seed {seed}");
    }
}

#[test]
fn two_workers_with_queues_of_one_towards_each_other_never_wait_for_ever() {
    (0..200).for_each(tight_queues);
}

#[test]
fn a_paused_publisher_leaves_its_bytes_where_they_are() {
    let mut c = Cluster::new(2).limits(|limits| limits.worker_queue_max = 16);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    let second = one_per_worker(&mut c, 2, "second")[0];
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.subscribe(subscriber, "t", 0);
    c.hold_mail();
    for n in 0..1000 {
        c.push_message(publisher, &Message::new("t", n.to_string(), 1));
        c.push_message(second, &Message::new("t", n.to_string(), 1));
    }
    c.run();
    assert!(c.is_paused(publisher) && c.is_paused(second));
    // Each publisher may go over the mark with one message.
    assert_eq!(c.mail_waiting(0, 1), 16 + 1);
    let unread = c.unread(second);
    c.ping(second);
    assert_eq!(c.unread(second), unread + 2);

    // Above half of the mark nothing changes; below it, reading goes on.
    c.deliver(0, 1, 8);
    c.deliver(1, 0, 9);
    assert!(c.is_paused(publisher) && c.is_paused(second));
    c.deliver(0, 1, 1);
    c.deliver(1, 0, 9);
    assert_eq!(c.mail_waiting(0, 1), 16 + 1);

    // Who pauses is heard all the same when it goes.
    c.lose(second);
    c.settle();
    assert_eq!(c.unread(publisher), 0);
    assert!(c.received(subscriber).len() >= 1000);
    assert_eq!(c.dropped(DropReason::QueueFull), 0);
}

#[test]
fn a_publisher_that_feeds_two_workers_waits_for_the_slower() {
    let mut c = Cluster::new(3).limits(|limits| limits.worker_queue_max = 4);
    let publisher = one_per_worker(&mut c, 3, "publisher")[0];
    for at in one_per_worker(&mut c, 3, "subscriber") {
        c.subscribe(at, "t", 0);
    }
    c.hold_mail();
    for n in 0..200 {
        c.push_message(publisher, &Message::new("t", n.to_string(), 1));
    }
    c.run();
    for _ in 0..100 {
        c.deliver(0, 1, 9);
        c.deliver(1, 0, 9);
        assert!(c.mail_waiting(0, 2) <= 4 + 1);
    }
    c.settle();
    assert_eq!(c.unread(publisher), 0);
}

#[test]
fn messages_of_one_publisher_to_one_topic_travel_together_within_the_mark() {
    let mut c = Cluster::new(2).limits(|limits| limits.worker_queue_max = 16);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.subscribe(subscriber, "t/#", 1);
    c.forget();
    c.hold_mail();
    let message = |topic: &str, n: u32, qos| Message::new(topic, n.to_string(), qos);
    for n in 0..5 {
        c.push_message(publisher, &message("t/1", n, 0));
    }
    c.push_message(publisher, &message("t/1", 5, 1));
    for n in 6..9 {
        c.push_message(publisher, &message("t/1", n, 0));
    }
    c.push_message(publisher, &message("t/2", 9, 0));
    c.push_message(publisher, &message("t/1", 10, 0).retain());
    for n in 11..100 {
        c.push_message(publisher, &message("t/1", n, 0));
    }
    c.run();
    assert!(c.is_paused(publisher));
    assert_eq!(c.publications_waiting(0, 1), 16);
    assert!(
        c.mail_waiting(0, 1) < 10,
        "{} letters",
        c.mail_waiting(0, 1)
    );
    c.settle();
    let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(c.payloads(subscriber), all);
}

#[test]
fn a_run_keeps_properties_expiry_and_no_local_of_each_message() {
    let mut c = Cluster::new(2);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[1];
    c.subscribe(subscriber, "t", 0);
    let alone = one_per_worker(&mut c, 2, "alone")[0];
    c.subscribe(alone, "t", 0);
    c.forget();
    c.hold_mail();
    for n in 0..3u32 {
        let name = format!("n{n}");
        let message = Message::new("t", name.clone(), 0)
            .expiry(60 + n)
            .user("name", &name);
        c.push_message(publisher, &message);
    }
    c.run();
    c.settle();
    // What came by mail is what came without.
    let by_mail = c.received(subscriber);
    assert_eq!(by_mail.len(), 3);
    assert_eq!(by_mail, c.received(alone));
}

/// The owner of the group, the publisher and the member are on three workers, and the member leaves
/// while a message is on its way.
#[test]
fn a_shared_message_without_a_member_left_is_counted() {
    let mut c = Cluster::new(3);
    let share = c.share_on(0, "share", "t");
    let publisher = one_per_worker(&mut c, 3, "publisher")[1];
    let member = one_per_worker(&mut c, 3, "member")[2];
    c.subscribe(member, &share, 1);
    c.forget();
    c.hold_mail();
    c.publish(publisher, "t", "hi", 1);
    c.unsubscribe(member, &share);
    // The choice is elsewhere, so UNSUBACK waits for it.
    assert_eq!(c.wire(member), NOTHING);
    c.deliver(2, 0, 9);
    c.deliver(1, 0, 9);
    c.settle();
    assert_eq!(c.wire(member), ["unsuback 2 [00]"]);
    assert_eq!(c.dropped(DropReason::NoMember), 1);
}

/// A message for one Shared Subscription is on its way when that ends and another takes its place
/// in the table of the worker that chooses.
#[test]
fn a_stale_shared_message_does_not_reach_another_shared_subscription() {
    let mut c = Cluster::new(2);
    let (first, second) = (c.share_on(0, "a", "t"), c.share_on(0, "b", "u"));
    let publisher = one_per_worker(&mut c, 2, "publisher")[1];
    let (old, new) = (c.name_on(0, "old"), c.name_on(0, "new"));
    let (old, new) = (c.v5(&old), c.v5(&new));
    c.subscribe(old, &first, 1);
    c.hold_mail();
    c.publish(publisher, "t", "not for u", 1);
    c.unsubscribe(old, &first);
    c.subscribe(new, &second, 1);
    c.settle();
    assert_eq!(c.received(new), NOTHING);
    assert_eq!(c.received(old), NOTHING);
    assert_eq!(c.dropped(DropReason::NoMember), 1);
}

/// A SUBSCRIBE that waits for another worker delivers retained messages at the time of its answer.
#[test]
fn retained_messages_behind_a_suback_that_waited_know_the_time() {
    let mut c = Cluster::new(2);
    let (share, topic) = (c.share_on(1, "share", "t"), c.name_on(0, "kept"));
    let publisher = c.v5("publisher");
    let subscriber = one_per_worker(&mut c, 2, "subscriber")[0];
    let message = Message::new(&topic, "hi", 1).retain().expiry(100);
    c.publish_with(publisher, &message);
    c.wait(30);
    c.subscribe_all(subscriber, &[(share.as_str(), 1), (topic.as_str(), 1)], 0);
    let expected = format!("{topic}=hi q1 retain expiry 70");
    assert_eq!(c.received(subscriber), [expected]);
}

#[test]
fn a_message_to_many_sessions_of_a_worker_is_one_handover() {
    let mut c = Cluster::new(2);
    let publisher = one_per_worker(&mut c, 2, "publisher")[0];
    for n in 0..10 {
        let name = c.name_on(1, &format!("subscriber-{n}-"));
        let subscriber = c.v5(&name);
        c.subscribe(subscriber, "t", 0);
    }
    c.hold_mail();
    c.publish(publisher, "t", "hi", 0);
    assert_eq!(c.mail_waiting(0, 1), 1);
    c.settle();
    assert_eq!(c.sum(|metrics| metrics.publish_sent), 10);
}

/// What a store says on one worker is no business of the others.
#[test]
fn a_failing_store_ends_nothing_on_other_workers() {
    let mut c = Cluster::new(2).durable();
    let away = c.name_on(0, "away");
    c.away(&away, "t", 1);
    let publishers = one_per_worker(&mut c, 2, "publisher");
    let watcher = c.connect(&Hello::v311("watcher"));
    c.subscribe(watcher, "t", 0);
    c.forget();
    c.hold_answers();
    for at in &publishers {
        c.publish(*at, "t", "hi", 1);
    }
    c.answer(0, 0, Err(StoreError::Io));
    assert_eq!(c.wire(publishers[0]), ["puback 1 0x80"]);
    assert_eq!(c.wire(publishers[1]), NOTHING);
    c.answer(1, 0, Ok(()));
    assert_eq!(c.wire(publishers[1]), ["puback 1"]);
    assert_eq!(c.received(watcher), ["t=hi q0", "t=hi q0"]);
}
