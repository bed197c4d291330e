//! Topics: the indexes and the checked views against naive matching, over operations from the input.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use dunlin_fuzz::choices::Choices;
use dunlin_fuzz::naive;
use dunlin_packet::{SharedFilter, TopicFilter, TopicName};
use dunlin_route::{
    Grant, GroupKey, Merged, RetainedIndex, Route, RouteIndex, SessionKey, filter_matches,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));

/// Few enough that filters overlap, odd enough that orders differ: as a byte `!` comes before `/`, as a
/// level `a!` comes after `a`.
const NAMES: [&str; 8] = ["", "a", "b", "ab", "$a", "a!", "ä", "long-name-of-a-level"];

const LEVELS_MAX: usize = 5;
const ROUTES_KEPT: usize = 6;

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut routes = Routes::new(u64::from(choices.byte()));
    let mut retained = Retained::default();
    while !choices.is_empty() {
        match choices.below(9) {
            0 | 1 => routes.subscribe(&mut choices),
            2 => routes.unsubscribe(&mut choices),
            3 => routes.group(&mut choices),
            4 => routes.resolve(&mut choices),
            5 => retained.insert(&mut choices),
            6 => retained.remove(&mut choices),
            7 => retained.matching(&mut choices),
            _ => check_text(&mut choices),
        }
    }
    routes.empty();
}

fn name(choices: &mut Choices<'_>) -> String {
    let levels: Vec<&str> = (0..=choices.below(LEVELS_MAX))
        .map(|_| choices.pick(&NAMES))
        .collect();
    let text = levels.join("/");
    if text.is_empty() {
        "a".to_owned()
    } else {
        text
    }
}

/// A valid filter: names, `+` and, at the end, perhaps `#`.
fn filter(choices: &mut Choices<'_>) -> String {
    let count = choices.below(LEVELS_MAX);
    let mut levels = Vec::new();
    for at in 0..=count {
        levels.push(match choices.below(NAMES.len() + 4) {
            wild if wild < 3 => "+",
            3 if at == count => "#",
            3 => "+",
            other => NAMES[other - 4],
        });
    }
    let text = levels.join("/");
    if text.is_empty() {
        "a".to_owned()
    } else {
        text
    }
}

/// The index under test, the Subscriptions as a plain list, and routes resolved earlier.
struct Routes {
    index: RouteIndex,
    direct: BTreeMap<(String, SessionKey), Grant>,
    groups: BTreeSet<(String, u16, u32)>,
    kept: Vec<(String, Route)>,
}

impl Routes {
    fn new(seed: u64) -> Self {
        Self {
            index: RouteIndex::new(seed),
            direct: BTreeMap::new(),
            groups: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    fn subscribe(&mut self, choices: &mut Choices<'_>) {
        let (filter, session, byte) = (filter(choices), session(choices), choices.byte());
        let grant = Grant {
            qos: byte % 3,
            no_local: byte & 16 != 0,
            retain_as_published: byte & 32 != 0,
            subscription_id: u32::from(byte >> 6),
        };
        let replaced = self.index.subscribe(&filter, session, grant);
        assert_eq!(replaced, self.direct.insert((filter, session), grant));
        self.check_kept();
    }

    fn unsubscribe(&mut self, choices: &mut Choices<'_>) {
        // Mostly one that is there.
        let (filter, session) = match self.direct.keys().nth(choices.below(64)) {
            Some(key) => key.clone(),
            None => (filter(choices), session(choices)),
        };
        let removed = self.index.unsubscribe(&filter, session);
        assert_eq!(removed, self.direct.remove(&(filter, session)));
        self.check_kept();
    }

    fn group(&mut self, choices: &mut Choices<'_>) {
        let (filter, byte) = (filter(choices), choices.byte());
        let group = GroupKey {
            partition: u16::from(byte & 1),
            slot: u32::from((byte >> 1) & 3),
        };
        let entry = (filter.clone(), group.partition, group.slot);
        if byte & 128 == 0 {
            assert_eq!(
                self.index.add_group(&filter, group),
                self.groups.insert(entry)
            );
        } else {
            assert_eq!(
                self.index.remove_group(&filter, group),
                self.groups.remove(&entry)
            );
        }
        self.check_kept();
    }

    fn resolve(&mut self, choices: &mut Choices<'_>) {
        let topic = name(choices);
        let route = self.index.resolve(&topic);
        assert_eq!(route.shards, self.index.topic_shards(&topic));
        self.check_route(&topic, &route);
        self.kept.truncate(ROUTES_KEPT - 1);
        self.kept.insert(0, (topic, route));
    }

    /// What an earlier route says holds as long as its generation does.
    fn check_kept(&self) {
        for (topic, route) in &self.kept {
            if self.index.generation(route.shards) == route.generation {
                self.check_route(topic, route);
            }
        }
        assert_eq!(self.index.subscriptions(), self.direct.len());
        assert_eq!(self.index.groups(), self.groups.len());
    }

    fn check_route(&self, topic: &str, route: &Route) {
        let mut expected: BTreeMap<SessionKey, Vec<Grant>> = BTreeMap::new();
        for ((filter, session), grant) in &self.direct {
            let matches = naive::matches(filter, topic);
            assert_eq!(
                filter_matches(filter, topic),
                matches,
                "{filter} on {topic}"
            );
            if matches {
                expected.entry(*session).or_default().push(*grant);
            }
        }
        let sessions: Vec<SessionKey> = route.direct.iter().map(|target| target.session).collect();
        assert_eq!(
            sessions,
            expected.keys().copied().collect::<Vec<_>>(),
            "{topic}"
        );
        for (target, grants) in route.direct.iter().zip(expected.values()) {
            check_merged(&target.merged, grants);
            let others: Vec<Grant> = grants
                .iter()
                .copied()
                .filter(|grant| !grant.no_local)
                .collect();
            match target.for_publisher.as_deref() {
                None => assert_eq!(others.len(), grants.len()),
                Some(None) => assert!(others.is_empty()),
                Some(Some(merged)) => {
                    assert!(!others.is_empty() && others.len() < grants.len());
                    check_merged(merged, &others);
                }
            }
        }
        let matching = self
            .groups
            .iter()
            .filter(|(filter, ..)| naive::matches(filter, topic));
        let expected: BTreeSet<(u16, u32)> = matching.map(|(_, one, two)| (*one, *two)).collect();
        let groups: Vec<(u16, u32)> = route
            .groups
            .iter()
            .map(|group| (group.partition, group.slot))
            .collect();
        assert_eq!(groups, expected.into_iter().collect::<Vec<_>>(), "{topic}");
    }

    /// Without Subscriptions nothing is found and nothing is left.
    fn empty(mut self) {
        for (filter, session) in self.direct.keys() {
            assert!(self.index.unsubscribe(filter, *session).is_some());
        }
        for (filter, partition, slot) in &self.groups {
            assert!(self.index.remove_group(
                filter,
                GroupKey {
                    partition: *partition,
                    slot: *slot
                }
            ));
        }
        self.direct.clear();
        self.groups.clear();
        for (topic, _) in &self.kept {
            self.check_route(topic, &self.index.resolve(topic));
        }
        self.check_kept();
    }
}

fn session(choices: &mut Choices<'_>) -> SessionKey {
    let byte = choices.byte();
    SessionKey {
        partition: u16::from(byte & 1),
        slot: u32::from((byte >> 1) & 3),
        serial: u32::from((byte >> 3) & 1),
    }
}

fn check_merged(merged: &Merged, grants: &[Grant]) {
    assert_eq!(Some(merged.qos), grants.iter().map(|grant| grant.qos).max());
    let as_published = grants.iter().any(|grant| grant.retain_as_published);
    assert_eq!(merged.retain_as_published, as_published);
    let mut found = merged.subscription_ids.as_slice().to_vec();
    let mut expected: Vec<u32> = grants
        .iter()
        .map(|grant| grant.subscription_id)
        .filter(|id| *id != 0)
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// The retained index beside a map from the list of levels.
#[derive(Default)]
struct Retained {
    index: RetainedIndex<u32>,
    model: BTreeMap<Vec<String>, u32>,
    next: u32,
}

impl Retained {
    fn insert(&mut self, choices: &mut Choices<'_>) {
        let topic = name(choices);
        self.next += 1;
        let replaced = self.index.insert(topic.as_str().into(), self.next);
        assert_eq!(replaced, self.model.insert(key(&topic), self.next));
        assert_eq!(self.index.get(&topic), Some(&self.next));
        assert_eq!(self.index.len(), self.model.len());
    }

    fn remove(&mut self, choices: &mut Choices<'_>) {
        let topic = name(choices);
        assert_eq!(self.index.remove(&topic), self.model.remove(&key(&topic)));
        assert_eq!(self.index.get(&topic), None);
        assert_eq!(self.index.is_empty(), self.model.is_empty());
    }

    /// All that match, in the order of the index, from the beginning or from behind any topic.
    fn matching(&mut self, choices: &mut Choices<'_>) {
        let filter = filter(choices);
        let after = choices.yes().then(|| name(choices));
        let found: Vec<(String, u32)> = self
            .index
            .matching(&filter, after.as_deref())
            .map(|(topic, value)| (topic.to_owned(), *value))
            .collect();
        let behind = after.as_deref().map(key);
        let expected: Vec<(String, u32)> = self
            .model
            .iter()
            .map(|(levels, value)| (levels, levels.join("/"), *value))
            .filter(|(levels, ..)| behind.as_ref().is_none_or(|behind| *levels > behind))
            .filter(|(_, topic, _)| naive::matches(&filter, topic))
            .map(|(_, topic, value)| (topic, value))
            .collect();
        assert_eq!(found, expected, "{filter} after {after:?}");
        assert_eq!(self.index.iter().count(), self.model.len());
    }
}

fn key(topic: &str) -> Vec<String> {
    naive::levels(topic)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Any text as a name, a filter and a shared filter.
fn check_text(choices: &mut Choices<'_>) {
    let len = choices.below(48);
    let bytes = choices.take(len);
    let text = String::from_utf8_lossy(bytes);
    let prefixed = format!("$share/{text}");
    for text in [&*text, &*prefixed] {
        let name = TopicName::new(text);
        assert_eq!(name.is_ok(), naive::is_name(text), "{text:?}");
        let filter = TopicFilter::new(text);
        assert_eq!(filter.is_ok(), naive::is_filter(text), "{text:?}");
        let shared = SharedFilter::parse(text);
        let parts =
            shared.map(|found| found.map(|found| (found.share_name, found.filter.as_str())));
        let expected = match naive::share(text) {
            None => Ok(None),
            Some(Some(parts)) => Ok(Some(parts)),
            Some(None) => Err(()),
        };
        assert_eq!(parts.map_err(|_| ()), expected, "{text:?}");
        if let Ok(filter) = filter {
            assert_eq!(filter.has_wildcards(), text.contains(['+', '#']));
            let topic = self::name(choices);
            let topic_name = TopicName::new(&topic).expect("made of valid levels");
            assert_eq!(
                filter.matches(topic_name),
                naive::matches(text, &topic),
                "{text:?} on {topic}"
            );
        }
        if let (Ok(filter), Ok(name)) = (filter, name) {
            assert!(filter.matches(name), "{text:?} matches itself");
        }
    }
}
