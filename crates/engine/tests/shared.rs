//! Shared Subscriptions: who gets a message, and what becomes of it when a member goes away.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use std::collections::BTreeMap;

use bench::{At, Cluster, Dice, Hello, NOTHING};
use dunlin_engine::DropReason;
use dunlin_engine::limits::SharedStrategy;
use dunlin_packet::PacketType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One worker with this choice of members, and a publisher.
fn bench_with(strategy: SharedStrategy) -> (Cluster, At) {
    let mut c = Cluster::new(1).limits(|limits| limits.shared_strategy = strategy);
    let publisher = c.v5("publisher");
    (c, publisher)
}

/// Members that acknowledge what they get, in the order of joining.
fn members(c: &mut Cluster, names: &[&str], options: u8) -> Vec<At> {
    let join = |name: &&str| {
        let at = c.kept(name);
        c.subscribe(at, "$share/g/t", options);
        at
    };
    names.iter().map(join).collect()
}

/// A member that acknowledges nothing by itself.
fn silent_member(c: &mut Cluster, name: &str, options: u8) -> At {
    let at = c.connect(&Hello::v5(name).kept(3600).silent());
    c.subscribe(at, "$share/g/t", options);
    at
}

/// Publishes 1 to `count`, and says what each member got.
fn spread(c: &mut Cluster, publisher: At, count: u32, qos: u8, members: &[At]) -> Vec<String> {
    for n in 1..=count {
        c.publish(publisher, "t", n.to_string(), qos);
    }
    let got = |at: &At| c.payloads(*at).join(" ");
    members.iter().map(got).collect()
}

#[test]
fn round_robin_gives_one_after_the_other() {
    for qos in 0..=2 {
        let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
        let members = members(&mut c, &["a", "b", "c"], 2);
        let got = spread(&mut c, publisher, 8, qos, &members);
        assert_eq!(got, ["1 4 7", "2 5 8", "3 6"]);
        let answers = c.acks(publisher);
        assert!(answers.iter().all(|(.., code)| *code == 0), "{answers:?}");
    }
}

#[test]
fn sticky_stays_with_one_until_it_goes() {
    let (mut c, publisher) = bench_with(SharedStrategy::Sticky);
    let members = members(&mut c, &["a", "b", "c"], 1);
    assert_eq!(spread(&mut c, publisher, 3, 1, &members), ["1 2 3", "", ""]);
    c.lose(members[0]);
    let got = spread(&mut c, publisher, 3, 1, &members);
    assert_eq!(got, ["", "1 2 3", ""]);
    c.unsubscribe(members[1], "$share/g/t");
    let got = spread(&mut c, publisher, 3, 1, &members);
    assert_eq!(got, ["", "", "1 2 3"]);
}

#[test]
fn least_in_flight_spares_the_slow() {
    for qos in 1..=2 {
        let (mut c, publisher) = bench_with(SharedStrategy::LeastInFlight);
        let slow = silent_member(&mut c, "slow", qos);
        let quick = members(&mut c, &["quick"], qos)[0];
        let got = spread(&mut c, publisher, 6, qos, &[slow, quick]);
        assert_eq!(got, ["1", "2 3 4 5 6"], "QoS {qos}");
    }
}

/// What a member gave back, or what expired in its queue, is not in flight to it any more.
#[test]
fn least_in_flight_counts_only_what_is_there() {
    let (mut c, publisher) = bench_with(SharedStrategy::LeastInFlight);
    let first = silent_member(&mut c, "first", 1);
    let second = members(&mut c, &["second"], 1)[0];
    assert_eq!(spread(&mut c, publisher, 1, 1, &[first, second]), ["1", ""]);
    c.lose(first);
    assert_eq!(c.payloads(second), ["1"]);
    let first = c.connect(&Hello::v5("first").kept(3600).silent());
    c.silence(second);
    assert_eq!(
        spread(&mut c, publisher, 2, 1, &[first, second]),
        ["1", "2"]
    );
}

#[test]
fn members_that_are_away_are_avoided_while_others_are_there() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let members = members(&mut c, &["a", "b", "c"], 1);
    c.lose(members[1]);
    let got = spread(&mut c, publisher, 4, 1, &members);
    assert_eq!(got, ["1 3", "", "2 4"]);
    let back = c.kept("b");
    assert_eq!(c.received(back), NOTHING);
    let got = spread(&mut c, publisher, 3, 1, &[members[0], back, members[2]]);
    assert_eq!(got.iter().filter(|got| got.len() == 1).count(), 3);
}

#[test]
fn what_a_member_has_not_acknowledged_goes_to_another_when_it_vanishes() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let slow = silent_member(&mut c, "slow", 1);
    let other = members(&mut c, &["other"], 1)[0];
    let got = spread(&mut c, publisher, 4, 1, &[slow, other]);
    assert_eq!(got, ["1 3", "2 4"]);
    c.puback(slow, 1);
    c.lose(slow);
    assert_eq!(c.received(other), ["t=3 q1"]);
    let slow = c.kept("slow");
    assert_eq!(c.received(slow), NOTHING);
    assert_eq!(c.sum(|metrics| metrics.dropped.iter().sum()), 0);
}

#[test]
fn the_same_holds_when_its_session_ends() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let slow = c.connect(&Hello::v5("slow").silent());
    c.subscribe(slow, "$share/g/t", 1);
    let other = members(&mut c, &["other"], 1)[0];
    spread(&mut c, publisher, 4, 1, &[slow, other]);
    c.disconnect(slow);
    assert_eq!(c.payloads(other), ["1", "3"]);
}

/// A member that has unsubscribed still holds what it has not acknowledged; when its Session ends,
/// that goes to the others.
#[test]
fn the_same_holds_when_it_had_unsubscribed() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let slow = c.connect(&Hello::v5("slow").silent());
    c.subscribe(slow, "$share/g/t", 1);
    let other = members(&mut c, &["other"], 1)[0];
    spread(&mut c, publisher, 4, 1, &[slow, other]);
    c.unsubscribe(slow, "$share/g/t");
    c.disconnect(slow);
    assert_eq!(c.payloads(other), ["1", "3"]);
}

#[test]
fn a_qos_2_message_that_was_sent_stays_with_its_member() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let hello = Hello::v5("slow").kept(3600).silent().receive_maximum(1);
    let slow = c.connect(&hello);
    c.subscribe(slow, "$share/g/t", 2);
    let other = members(&mut c, &["other"], 2)[0];
    let got = spread(&mut c, publisher, 4, 2, &[slow, other]);
    // The third waits for quota.
    assert_eq!(got, ["1", "2 4"]);
    c.lose(slow);
    assert_eq!(c.received(other), ["t=3 q2"]);
    let slow = c.connect(&hello);
    assert_eq!(c.received(slow), ["t=1 q2 dup"]);
}

#[test]
fn a_message_that_is_refused_is_discarded() {
    for (qos, packet_type) in [(1, PacketType::Puback), (2, PacketType::Pubrec)] {
        let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
        let slow = silent_member(&mut c, "slow", qos);
        let other = members(&mut c, &["other"], qos)[0];
        let got = spread(&mut c, publisher, 1, qos, &[slow, other]);
        assert_eq!(got, ["1", ""]);
        c.refuse(slow, packet_type, 1);
        c.lose(slow);
        assert_eq!(c.received(other), NOTHING);
        assert_eq!(c.dropped(DropReason::Refused), 1);
    }
}

#[test]
fn when_all_are_away_a_message_waits_for_the_first_to_return() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    for at in members(&mut c, &["a", "b", "c"], 1) {
        c.lose(at);
    }
    let got = spread(&mut c, publisher, 2, 1, &[]);
    assert_eq!(got.len(), 0);
    let back = c.kept("c");
    assert_eq!(c.payloads(back), ["1", "2"]);
    for name in ["a", "b"] {
        let back = c.kept(name);
        assert_eq!(c.payloads(back).len(), 0);
    }
    assert_eq!(c.dropped(DropReason::NoMember), 0);
}

#[test]
fn when_no_member_is_left_nobody_is_matched() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let at = c.v5("a");
    c.subscribe(at, "$share/g/t", 1);
    c.disconnect(at);
    c.forget();
    c.publish(publisher, "t", "hi", 1);
    assert_eq!(c.answers(publisher), ["puback 1 0x10"]);
}

#[test]
fn groups_and_other_subscriptions_do_not_share() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    let (one, two) = (c.v5("one"), c.v5("two"));
    c.subscribe_as(one, "$share/g/t", 1, 5);
    c.subscribe_as(two, "$share/g/+", 1, 6);
    c.subscribe_as(two, "$share/h/t", 0, 7);
    c.subscribe(one, "t", 0);
    c.publish(publisher, "t", "hi", 1);
    let mut got = c.received(one);
    got.sort();
    assert_eq!(got, ["t=hi q0", "t=hi q1 ids[5]"]);
    let mut got = c.received(two);
    got.sort();
    assert_eq!(got, ["t=hi q0 ids[7]", "t=hi q1 ids[6]"]);
}

#[test]
fn retained_messages_are_not_for_shared_subscriptions() {
    let (mut c, publisher) = bench_with(SharedStrategy::RoundRobin);
    c.retain(publisher, "t", "kept", 1);
    let member = members(&mut c, &["a"], 1)[0];
    assert_eq!(c.received(member), NOTHING);
}

/// How many clients there are; the first two keep their Sessions, and the first never unsubscribes.
const CLIENTS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    Lose(usize),
    Return(usize),
    Ack(usize),
    Publish,
    Mail,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        2 => client.clone().prop_map(Step::Join),
        1 => (1..CLIENTS).prop_map(Step::Leave),
        2 => client.clone().prop_map(Step::Lose),
        2 => client.clone().prop_map(Step::Return),
        4 => client.prop_map(Step::Ack),
        6 => Just(Step::Publish),
        6 => Just(Step::Mail),
    ]
}

/// What one client knows of its connection.
struct Member {
    at: Option<At>,
    /// Got on this connection and not acknowledged: Packet Identifier and message.
    open: Vec<(u16, String)>,
}

/// Clients of one Shared Subscription that acknowledge only when they are told, and what became of
/// the messages.
struct Run {
    c: Cluster,
    dice: Dice,
    share: String,
    publisher: At,
    names: Vec<String>,
    members: Vec<Member>,
    published: usize,
    /// How often each message was delivered, and how often acknowledged.
    fates: BTreeMap<String, (u32, u32)>,
}

impl Run {
    fn new(workers: u16, durable: bool, seed: u64) -> Self {
        let mut c = Cluster::new(workers).offer(|offer| offer.inflight_messages_max = 1000);
        if durable {
            c = c.durable();
        }
        let mut dice = Dice::new(seed);
        let share = c.share_on(dice.below(usize::from(workers)) as u16, "g", "t");
        let mut run = Self {
            publisher: c.v5("publisher"),
            names: (0..CLIENTS).map(|n| format!("member-{n}")).collect(),
            members: Vec::new(),
            published: 0,
            fates: BTreeMap::new(),
            share,
            dice,
            c,
        };
        for n in 0..CLIENTS {
            let at = run.connect(n);
            run.members.push(Member {
                at: Some(at),
                open: Vec::new(),
            });
        }
        run.take(Step::Join(0));
        run.c.hold_mail();
        run
    }

    fn connect(&mut self, n: usize) -> At {
        let hello = Hello::v5(&self.names[n]).silent();
        let hello = if n < 2 { hello.kept(3600) } else { hello };
        self.c.connect(&hello)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish => {
                self.published += 1;
                let payload = self.published.to_string();
                self.c.publish(self.publisher, "t", payload, 1);
            }
            Step::Mail => {
                self.c.step(&mut self.dice);
            }
            Step::Join(n) => {
                if let Some(at) = self.members[n].at {
                    self.c.subscribe(at, &self.share, 1);
                }
            }
            Step::Leave(n) => {
                if let Some(at) = self.members[n].at {
                    self.c.unsubscribe(at, &self.share);
                }
            }
            Step::Lose(n) => {
                if let Some(at) = self.members[n].at.take() {
                    self.c.lose(at);
                    self.members[n].open.clear();
                }
            }
            Step::Return(n) => {
                if self.members[n].at.is_none() {
                    self.members[n].at = Some(self.connect(n));
                }
            }
            Step::Ack(n) => self.acknowledge(n),
        }
        self.look();
    }

    /// A client acknowledges the oldest message that it has.
    fn acknowledge(&mut self, n: usize) {
        let member = &mut self.members[n];
        let Some(at) = member.at.filter(|_| !member.open.is_empty()) else {
            return;
        };
        let (id, message) = member.open.remove(0);
        self.fates.entry(message).or_default().1 += 1;
        self.c.puback(at, id);
    }

    /// Notes what clients have got.
    fn look(&mut self) {
        for member in &mut self.members {
            let Some(at) = member.at else { continue };
            for message in self.c.deliveries(at) {
                let text = message.text();
                self.fates.entry(text.clone()).or_default().0 += 1;
                member.open.push((message.packet_id, text));
            }
        }
    }

    /// Everybody comes back and acknowledges everything.
    fn finish(&mut self) {
        for n in 0..CLIENTS {
            self.take(Step::Return(n));
        }
        self.c.settle();
        self.look();
        while let Some(n) = (0..CLIENTS).find(|n| !self.members[*n].open.is_empty()) {
            self.acknowledge(n);
            self.c.settle();
            self.look();
        }
    }
}

fn config(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(200, 1))]

    /// While a member that keeps its Session exists, every message is delivered, and no two members
    /// acknowledge the same one.
    #[test]
    fn no_message_is_lost_or_acknowledged_twice(
        workers in 1..4_u16,
        durable in any::<bool>(),
        seed in any::<u64>(),
        steps in vec(step(), 1..80),
    ) {
        let mut run = Run::new(workers, durable, seed);
        for step in steps {
            run.take(step);
        }
        run.finish();
        prop_assert_eq!(run.fates.len(), run.published);
        for (message, (delivered, acknowledged)) in &run.fates {
            prop_assert!(*delivered >= 1 && *acknowledged <= 1, "{} {:?}", message, run.fates);
        }
        prop_assert_eq!(run.c.dropped(DropReason::NoMember), 0);
        prop_assert_eq!(run.c.dropped(DropReason::QueueFull), 0);
    }

    /// With all members connected nobody gets more than one message more than another.
    #[test]
    fn round_robin_is_balanced(
        workers in 1..4_u16,
        joined in vec(any::<bool>(), 1..12),
        messages in 1..40_usize,
    ) {
        let mut c = Cluster::new(workers);
        let publisher = c.v5("publisher");
        let mut members = Vec::new();
        for (n, joined) in joined.iter().enumerate() {
            let at = c.v5(&format!("member-{n}"));
            c.subscribe(at, "$share/g/t", 1);
            if *joined {
                members.push(at);
            } else {
                c.unsubscribe(at, "$share/g/t");
            }
        }
        for n in 0..messages {
            c.publish(publisher, "t", n.to_string(), 1);
        }
        let counts: Vec<usize> = members.iter().map(|at| c.payloads(*at).len()).collect();
        let expected = if members.is_empty() { 0 } else { messages };
        prop_assert_eq!(counts.iter().sum::<usize>(), expected);
        let (least, most) = (counts.iter().min(), counts.iter().max());
        prop_assert!(most.copied().unwrap_or(0) - least.copied().unwrap_or(0) <= 1, "{:?}", counts);
    }
}
