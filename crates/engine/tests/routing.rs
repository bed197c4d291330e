//! From PUBLISH to everybody who asked, against the plain matching rule.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use std::collections::BTreeMap;

use bench::{At, Cluster};
use dunlin_route::filter_matches;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

const CLIENTS: usize = 20;

/// A text of levels; neither a Topic Name nor a Topic Filter may be empty.
fn join(levels: &[&str]) -> String {
    let text = levels.join("/");
    if text.is_empty() {
        "/".to_owned()
    } else {
        text
    }
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        5 => Just("a"),
        4 => Just("b"),
        1 => Just(""),
        1 => Just("$a"),
        1 => Just("a level longer than what a node holds in place"),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    vec(level(), 1..5).prop_map(|levels| join(&levels))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 1 => Just("+")];
    (vec(level, 0..5), prop::bool::weighted(0.3)).prop_map(|(mut levels, rest)| {
        if rest {
            levels.push("#");
        }
        join(&levels)
    })
}

/// A filter, its QoS, and who asks; later ones replace earlier ones.
fn subscription() -> impl Strategy<Value = (usize, String, u8)> {
    (0..CLIENTS, filter(), 0..3_u8)
}

/// What the broker should hold: granted QoS by client and filter.
type Model = BTreeMap<(usize, String), u8>;

/// The QoS at which each client gets a message, if at all.
fn naive(model: &Model, topic: &str, qos: u8) -> Vec<Option<u8>> {
    let mut wanted: Vec<Option<u8>> = vec![None; CLIENTS];
    for ((client, filter), granted) in model {
        if filter_matches(filter, topic) {
            wanted[*client] = wanted[*client].max(Some(*granted));
        }
    }
    let lower = |granted: Option<u8>| granted.map(|granted| granted.min(qos));
    wanted.into_iter().map(lower).collect()
}

fn check(
    c: &mut Cluster,
    publisher: At,
    clients: &[At],
    model: &Model,
    messages: &[(String, u8)],
) -> Result<(), TestCaseError> {
    for (topic, qos) in messages {
        c.publish(publisher, topic, "hi", *qos);
        for (at, wanted) in clients.iter().zip(naive(model, topic, *qos)) {
            let got: Vec<(String, u8)> = c
                .deliveries(*at)
                .into_iter()
                .map(|message| (message.topic, message.qos))
                .collect();
            let expected: Vec<(String, u8)> =
                wanted.into_iter().map(|qos| (topic.clone(), qos)).collect();
            prop_assert_eq!(got, expected, "{}", topic);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 30,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// 200 filters of 20 clients, of which some go again while topics are known to the caches.
    #[test]
    fn every_client_gets_what_it_asked_for_once(
        workers in 1..4_u16,
        subscriptions in vec(subscription(), 200),
        leaving in vec(any::<Index>(), 60),
        messages in vec((topic(), 0..3_u8), 30),
    ) {
        let mut c = Cluster::new(workers);
        let publisher = c.v5("publisher");
        let clients: Vec<At> = (0..CLIENTS).map(|n| c.v5(&format!("client-{n}"))).collect();
        let mut model = Model::new();
        check(&mut c, publisher, &clients, &model, &messages)?;
        for (client, filter, qos) in &subscriptions {
            c.subscribe(clients[*client], filter, *qos);
            model.insert((*client, filter.clone()), *qos);
        }
        check(&mut c, publisher, &clients, &model, &messages)?;
        for index in &leaving {
            let (client, filter, _) = index.get(&subscriptions);
            c.unsubscribe(clients[*client], filter);
            model.remove(&(*client, filter.clone()));
        }
        check(&mut c, publisher, &clients, &model, &messages)?;
    }
}
