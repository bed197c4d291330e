//! The time that the index of Subscriptions, a worker's cache before it, and the index of retained topics
//! take for a Topic Name, a Subscription or a Topic Filter.

use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box, black_box_drop};
use dunlin_route::{Grant, RetainedIndex, Route, RouteIndex, SessionKey, TopicCache};

/// Subscriptions of one plant, and of many; at 300 bytes each the latter take 300 MB.
const PLANT: u32 = 15_000;
const MANY: u32 = 1_000_000;

const SESSIONS: u32 = 30;

/// Topic Names looked up in each iteration.
const TOPICS: u32 = 1000;

const GRANT: Grant = Grant {
    qos: 1,
    no_local: false,
    retain_as_published: false,
    subscription_id: 0,
};

/// Topic Filters for 20,000 retained topics, four on each of 5,000 sites: all of them, those of one site, one on each
/// site, and a single one.
const RETAINED_FILTERS: [&str; 4] = ["#", "site/77/#", "site/+/oven/temp", "site/77/oven/temp"];

fn main() {
    divan::main();
}

#[divan::bench(args = [PLANT, MANY])]
fn resolve(bencher: Bencher<'_, '_>, subscriptions: u32) {
    let index = index(subscriptions);
    let topics = topics(subscriptions);
    bencher.counter(ItemsCount::new(TOPICS)).bench_local(|| {
        for topic in &topics {
            black_box_drop(index.resolve(black_box(topic)));
        }
    });
}

/// A Subscription that comes and goes, which is one item.
#[divan::bench(args = [PLANT, MANY])]
fn subscribe_and_unsubscribe(bencher: Bencher<'_, '_>, subscriptions: u32) {
    let index = index(subscriptions);
    let visitor = session(SESSIONS);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let filter = black_box("site/77/+/state");
        index.subscribe(filter, visitor, GRANT);
        index.unsubscribe(filter, visitor)
    });
}

/// With the question whether what the cache remembers is still true.
#[divan::bench]
fn cache_hit(bencher: Bencher<'_, '_>) {
    let (mut cache, topics, index) = (filled_cache(), topics(PLANT), index(PLANT));
    let is_current = |route: &Route| index.generation(route.shards) == route.generation;
    bencher.counter(ItemsCount::new(TOPICS)).bench_local(|| {
        let mut hits = 0_u32;
        for topic in &topics {
            let found = cache.get(black_box(topic.as_bytes()));
            hits += u32::from(found.is_some_and(|entry| is_current(&entry.value)));
        }
        hits
    });
}

#[divan::bench]
fn cache_miss(bencher: Bencher<'_, '_>) {
    let mut cache = filled_cache();
    let unknown: Vec<String> = topics(PLANT)
        .into_iter()
        .map(|topic| topic + "/unknown")
        .collect();
    bencher.counter(ItemsCount::new(TOPICS)).bench_local(|| {
        let mut hits = 0_u32;
        for topic in &unknown {
            hits += u32::from(cache.get(black_box(topic.as_bytes())).is_some());
        }
        hits
    });
}

/// The items are the retained topics that match.
#[divan::bench(args = RETAINED_FILTERS)]
fn retained_matching(bencher: Bencher<'_, '_>, filter: &str) {
    let mut index = RetainedIndex::new();
    for site in 0..5000_u32 {
        for machine in ["mill", "oven", "press", "saw"] {
            index.insert(format!("site/{site}/{machine}/temp").into(), site);
        }
    }
    let matching = index.matching(filter, None).count();
    bencher
        .counter(ItemsCount::new(matching))
        .bench_local(|| index.matching(black_box(filter), None).count());
}

/// The index with so many Subscriptions, [`PLANT`] or [`MANY`]; built once.
fn index(subscriptions: u32) -> &'static RouteIndex {
    static INDEX_OF_A_PLANT: LazyLock<RouteIndex> = LazyLock::new(|| subscribed(PLANT));
    static INDEX_OF_MANY: LazyLock<RouteIndex> = LazyLock::new(|| subscribed(MANY));
    match subscriptions {
        PLANT => &INDEX_OF_A_PLANT,
        _ => &INDEX_OF_MANY,
    }
}

/// One Subscription for each site, every tenth of which ends in `#`.
fn subscribed(subscriptions: u32) -> RouteIndex {
    let index = RouteIndex::new(7);
    for site in 0..subscriptions {
        let filter = if site % 10 == 9 {
            format!("site/{site}/#")
        } else {
            format!("site/{site}/+/temp")
        };
        index.subscribe(&filter, session(site % SESSIONS), GRANT);
    }
    index
}

/// Topic Names of sites all over the index, each of which has one Subscription that matches.
fn topics(subscriptions: u32) -> Vec<String> {
    let step = subscriptions / TOPICS;
    (0..TOPICS)
        .map(|n| format!("site/{}/oven/temp", n * step + n % step))
        .collect()
}

/// A cache that knows all [`topics`] of a plant.
fn filled_cache() -> TopicCache<Route> {
    let mut cache = TopicCache::new(8 << 20, 11);
    for topic in topics(PLANT) {
        let route = index(PLANT).resolve(&topic);
        let bytes = route.heap_bytes();
        cache.insert(topic.as_str().into(), route, bytes);
    }
    cache
}

fn session(slot: u32) -> SessionKey {
    SessionKey {
        partition: (slot % 1024) as u16,
        slot,
        serial: 1,
    }
}
