//! The indexes against the plain rule: random Topic Filters and Topic Names over a small alphabet, so that much of it
//! meets, with empty levels, `$` and depth.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_route::{
    Grant, GroupKey, Merged, RetainedIndex, Route, RouteIndex, SessionKey, Target, TopicCache,
    filter_matches,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What the index should hold.
type Model = BTreeMap<(String, SessionKey), Grant>;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    }
}

fn name_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        2 => Just(""),
        5 => Just("a"),
        4 => Just("b"),
        2 => Just("a-b"),
        1 => Just("$s"),
        1 => Just("a level longer than what a node holds in place"),
    ]
}

fn join(levels: &[&str]) -> String {
    let text = levels.join("/");
    // Neither kind of text may be empty.
    if text.is_empty() {
        "/".to_owned()
    } else {
        text
    }
}

fn topic() -> impl Strategy<Value = String> {
    let usual = vec(name_level(), 1..6);
    let deep = vec(prop_oneof![Just("a"), Just("")], 40..200);
    prop_oneof![30 => usual, 1 => deep].prop_map(|levels| join(&levels))
}

fn filter() -> impl Strategy<Value = String> {
    let usual = vec(prop_oneof![3 => name_level(), 1 => Just("+")], 0..6);
    let deep = vec(prop_oneof![Just("a"), Just(""), Just("+")], 40..200);
    (
        prop_oneof![50 => usual, 1 => deep],
        prop::bool::weighted(0.25),
    )
        .prop_map(|(mut levels, all)| {
            if all {
                levels.push("#");
            }
            join(&levels)
        })
}

fn session() -> impl Strategy<Value = SessionKey> {
    (0..3_u16, 0..12_u32, 0..2_u32).prop_map(|(partition, slot, serial)| SessionKey {
        partition,
        slot,
        serial,
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    (0..3_u8, any::<bool>(), any::<bool>(), 0..4_u32).prop_map(
        |(qos, no_local, retain_as_published, subscription_id)| Grant {
            qos,
            no_local,
            retain_as_published,
            subscription_id,
        },
    )
}

/// The identifiers sorted: their order is that of discovery, which the model does not have.
fn plain(merged: &Merged) -> (u8, bool, Vec<u32>) {
    let mut ids = merged.subscription_ids.as_slice().to_vec();
    ids.sort_unstable();
    (merged.qos, merged.retain_as_published, ids)
}

fn plain_merge(grants: &[Grant]) -> Option<(u8, bool, Vec<u32>)> {
    let qos = grants.iter().map(|grant| grant.qos).max()?;
    let retain = grants.iter().any(|grant| grant.retain_as_published);
    let mut ids: Vec<u32> = grants.iter().map(|grant| grant.subscription_id).collect();
    ids.retain(|&id| id != 0);
    ids.sort_unstable();
    Some((qos, retain, ids))
}

/// A [`Target`] without the order of identifiers, and with what holds for the publisher written out.
type PlainTarget = (
    SessionKey,
    Option<(u8, bool, Vec<u32>)>,
    Option<(u8, bool, Vec<u32>)>,
);

fn plain_target(target: &Target) -> PlainTarget {
    let merged = Some(plain(&target.merged));
    let for_publisher = match &target.for_publisher {
        None => merged.clone(),
        Some(left) => (**left).as_ref().map(plain),
    };
    (target.session, merged, for_publisher)
}

/// What the model resolves to.
fn naive(model: &Model, topic: &str) -> Vec<PlainTarget> {
    let mut sessions: BTreeMap<SessionKey, Vec<Grant>> = BTreeMap::new();
    for ((filter, session), grant) in model {
        if filter_matches(filter, topic) {
            sessions.entry(*session).or_default().push(*grant);
        }
    }
    sessions
        .into_iter()
        .map(|(session, grants)| {
            let others: Vec<Grant> = grants
                .iter()
                .copied()
                .filter(|grant| !grant.no_local)
                .collect();
            (session, plain_merge(&grants), plain_merge(&others))
        })
        .collect()
}

fn check(index: &RouteIndex, model: &Model, topic: &str) -> Result<(), TestCaseError> {
    let route = index.resolve(topic);
    let found: Vec<PlainTarget> = route.direct.iter().map(plain_target).collect();
    prop_assert_eq!(found, naive(model, topic), "{}", topic);
    prop_assert_eq!(route.generation, index.generation(route.shards));
    Ok(())
}

fn check_empty(index: &RouteIndex) -> Result<(), TestCaseError> {
    prop_assert_eq!((index.subscriptions(), index.groups()), (0, 0));
    let empty = RouteIndex::new(0).heap_bytes();
    let held = index.heap_bytes();
    // What stays is one chunk of nodes, the list of chunks and a small table of edges.
    prop_assert!(held <= empty + 48 * 1024, "{} bytes of {}", held, empty);
    Ok(())
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn ten_thousand_filters_come_and_go_in_any_order(
        entries in vec((filter(), session(), grant()), 10_000),
        seed in any::<u64>(),
        topics in vec(topic(), 30),
    ) {
        let index = RouteIndex::new(seed);
        let mut model = Model::new();
        for (filter, session, grant) in &entries {
            let replaced = index.subscribe(filter, *session, *grant);
            prop_assert_eq!(replaced, model.insert((filter.clone(), *session), *grant));
        }
        prop_assert_eq!(index.subscriptions(), model.len());
        for topic in &topics {
            check(&index, &model, topic)?;
        }

        // In an order that has nothing to do with that of adding.
        let mut order: Vec<(u64, usize)> = (0..entries.len())
            .map(|at| ((at as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15), at))
            .collect();
        order.sort_unstable();
        for (done, (_, at)) in order.iter().enumerate() {
            let (filter, session, _) = &entries[*at];
            let removed = index.unsubscribe(filter, *session);
            prop_assert_eq!(removed, model.remove(&(filter.clone(), *session)));
            if done == entries.len() / 2 {
                for topic in &topics {
                    check(&index, &model, topic)?;
                }
            }
        }
        prop_assert!(model.is_empty());
        for topic in &topics {
            prop_assert!(index.resolve(topic).direct.is_empty());
        }
        check_empty(&index)?;
    }
}

/// One change to the index.
#[derive(Clone, Debug)]
enum Change {
    Subscribe(String, SessionKey, Grant),
    Unsubscribe(String, SessionKey),
    AddGroup(String, GroupKey),
    RemoveGroup(String, GroupKey),
}

/// Filters from a handful, so that most of the time something is there to be replaced or removed.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec(filter(), 1..12).prop_flat_map(|filters| {
        let filter = move || prop::sample::select(filters.clone());
        let group =
            || (0..3_u16, 0..3_u32).prop_map(|(partition, slot)| GroupKey { partition, slot });
        let change = prop_oneof![
            3 => (filter(), session(), grant()).prop_map(|(f, s, g)| Change::Subscribe(f, s, g)),
            3 => (filter(), session()).prop_map(|(f, s)| Change::Unsubscribe(f, s)),
            1 => (filter(), group()).prop_map(|(f, g)| Change::AddGroup(f, g)),
            1 => (filter(), group()).prop_map(|(f, g)| Change::RemoveGroup(f, g)),
        ];
        vec(change, 1..80)
    })
}

fn apply(index: &RouteIndex, model: &mut Model, change: &Change) -> Result<(), TestCaseError> {
    match change {
        Change::Subscribe(filter, session, grant) => {
            let replaced = index.subscribe(filter, *session, *grant);
            prop_assert_eq!(replaced, model.insert((filter.clone(), *session), *grant));
        }
        Change::Unsubscribe(filter, session) => {
            let removed = index.unsubscribe(filter, *session);
            prop_assert_eq!(removed, model.remove(&(filter.clone(), *session)));
        }
        Change::AddGroup(filter, group) => {
            index.add_group(filter, *group);
        }
        Change::RemoveGroup(filter, group) => {
            index.remove_group(filter, *group);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn a_route_with_the_current_generation_is_the_current_route(
        changes in changes(),
        topics in vec(topic(), 8),
        seed in any::<u64>(),
    ) {
        let index = RouteIndex::new(seed);
        let mut model = Model::new();
        let mut routes: Vec<Route> = topics.iter().map(|topic| index.resolve(topic)).collect();
        for change in &changes {
            apply(&index, &mut model, change)?;
            for (topic, route) in topics.iter().zip(&mut routes) {
                let now = index.resolve(topic);
                prop_assert_eq!(now.shards, route.shards);
                if index.generation(route.shards) == route.generation {
                    prop_assert_eq!(&now, &*route, "{} after {:?}", topic, change);
                }
                *route = now;
            }
        }
        for topic in &topics {
            check(&index, &model, topic)?;
        }
    }

    #[test]
    fn groups_are_found_like_sessions_and_leave_nothing_behind(
        entries in vec((filter(), 0..200_u32), 1..150),
        topics in vec(topic(), 10),
    ) {
        let index = RouteIndex::new(5);
        let mut model: BTreeSet<(String, u32)> = BTreeSet::new();
        let key = |slot| GroupKey { partition: 3, slot };
        for (filter, slot) in &entries {
            prop_assert_eq!(index.add_group(filter, key(*slot)), model.insert((filter.clone(), *slot)));
        }
        prop_assert_eq!(index.groups(), model.len());
        for topic in &topics {
            let expected: BTreeSet<u32> = model
                .iter()
                .filter(|(filter, _)| filter_matches(filter, topic))
                .map(|(_, slot)| *slot)
                .collect();
            let found: Vec<u32> = index.resolve(topic).groups.iter().map(|group| group.slot).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<u32>>(), "{}", topic);
        }
        for (filter, slot) in &entries {
            let held = model.remove(&(filter.clone(), *slot));
            prop_assert_eq!(index.remove_group(filter, key(*slot)), held);
        }
        check_empty(&index)?;
    }

    #[test]
    fn retained_topics_match_as_the_rule_says_from_any_point_on(
        topics in vec(topic(), 0..150),
        removed in vec(any::<prop::sample::Index>(), 0..20),
        filters in vec(filter(), 12),
        after in topic(),
        steps in 1..7_usize,
    ) {
        let mut index = RetainedIndex::new();
        let mut model: BTreeMap<String, usize> = BTreeMap::new();
        for (at, topic) in topics.iter().enumerate() {
            prop_assert_eq!(index.insert(topic.as_str().into(), at), model.insert(topic.clone(), at));
        }
        for at in removed.iter().filter(|_| !topics.is_empty()) {
            let topic = at.get(&topics);
            prop_assert_eq!(index.remove(topic), model.remove(topic));
        }
        prop_assert_eq!(index.len(), model.len());

        // The order of the index is that of the lists of levels.
        let mut all: Vec<&str> = model.keys().map(String::as_str).collect();
        all.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        prop_assert_eq!(index.iter().map(|(topic, _)| topic).collect::<Vec<_>>(), all.clone());

        for filter in &filters {
            let expected: Vec<(&str, &usize)> = all
                .iter()
                .filter(|topic| filter_matches(filter, topic))
                .map(|topic| (*topic, &model[*topic]))
                .collect();
            let found: Vec<(&str, &usize)> = index.matching(filter, None).collect();
            prop_assert_eq!(&found, &expected, "{}", filter);

            let later: Vec<&str> = expected
                .iter()
                .map(|(topic, _)| *topic)
                .filter(|topic| topic.split('/').gt(after.split('/')))
                .collect();
            let resumed: Vec<&str> = index.matching(filter, Some(&after)).map(|(topic, _)| topic).collect();
            prop_assert_eq!(resumed, later, "{} after {}", filter, after);

            // In small steps, each taken up after the last topic of the one before.
            let mut walked: Vec<&str> = Vec::new();
            loop {
                let step: Vec<&str> = index
                    .matching(filter, walked.last().copied())
                    .map(|(topic, _)| topic)
                    .take(steps)
                    .collect();
                if step.is_empty() {
                    break;
                }
                walked.extend(step);
                prop_assert!(walked.len() <= model.len(), "{} repeats itself", filter);
            }
            let topics_found: Vec<&str> = found.iter().map(|(topic, _)| *topic).collect();
            prop_assert_eq!(walked, topics_found, "{} in steps of {}", filter, steps);
        }
    }

    #[test]
    fn the_cache_keeps_its_bound_and_tells_no_lies(
        bytes_max in 0..6_000_usize,
        seed in any::<u64>(),
        uses in vec((0..60_u32, any::<bool>(), 0..400_usize), 1..600),
    ) {
        let mut cache = TopicCache::new(bytes_max, seed);
        let mut last: HashMap<u32, usize> = HashMap::new();
        for (turn, (topic, insert, extra_bytes)) in uses.iter().enumerate() {
            let name = format!("topic/{topic}");
            if *insert {
                cache.insert(name.as_str().into(), turn, *extra_bytes);
                last.insert(*topic, turn);
                prop_assert!(cache.bytes() <= bytes_max, "{} of {}", cache.bytes(), bytes_max);
            }
            let held = cache.get(name.as_bytes()).map(|entry| entry.value);
            if let Some(value) = held {
                prop_assert_eq!(Some(&value), last.get(topic));
            }
            // An entry takes less than 200 bytes besides what its value holds.
            if *insert && extra_bytes + 200 <= bytes_max {
                prop_assert_eq!(held, Some(turn));
            }
            prop_assert_eq!(cache.is_empty(), cache.bytes() == 0);
            prop_assert!(cache.len() <= last.len());
        }
        cache.clear();
        prop_assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }
}
