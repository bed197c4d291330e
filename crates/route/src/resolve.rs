//! What a Topic Name resolves to: every Session once, with its overlapping Subscriptions merged.
//!
//! v5[MQTT-3.3.4-2] asks for the highest QoS of the matching Subscriptions; one copy with all Subscription
//! Identifiers is one of the two ways that the standard leaves open.

use crate::generations::TopicShards;
use crate::keys::{Grant, GroupKey, SessionKey};

/// Where messages of one Topic Name go, until its generation moves.
#[derive(Clone, Default, Eq, PartialEq, Debug)]
pub struct Route {
    /// Read before the look-up: current as long as [`crate::RouteIndex::generation`] of `shards` returns the same.
    pub generation: u64,
    /// The counters that this Topic Name depends on.
    pub shards: TopicShards,
    /// The Sessions, sorted by partition, then slot; each once.
    pub direct: Vec<Target>,
    /// The Shared Subscriptions, sorted by partition, then slot; each once.
    pub groups: Vec<GroupKey>,
}

impl Route {
    /// Bytes held outside the value itself, for caches that keep count.
    pub fn heap_bytes(&self) -> usize {
        let targets: usize = self.direct.iter().map(Target::heap_bytes).sum();
        targets + size_of_val(&*self.direct) + size_of_val(&*self.groups)
    }
}

/// One Session with all of its matching Subscriptions.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Target {
    /// The Session.
    pub session: SessionKey,
    /// What holds for a message of any other publisher.
    pub merged: Merged,
    /// What holds when the publisher is this very Session: its Subscriptions with No Local are taken out, and inside
    /// is `None` when no other is left. `None` outside: the same as `merged`.
    pub for_publisher: Option<Box<Option<Merged>>>,
}

impl Target {
    fn heap_bytes(&self) -> usize {
        let for_publisher = self.for_publisher.as_ref().map_or(0, |merged| {
            size_of::<Option<Merged>>() + (**merged).as_ref().map_or(0, Merged::heap_bytes)
        });
        self.merged.heap_bytes() + for_publisher
    }
}

/// One or more Subscriptions of one Session, taken together.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Merged {
    /// The highest granted QoS.
    pub qos: u8,
    /// Whether any has Retain As Published.
    pub retain_as_published: bool,
    /// The Subscription Identifiers of all that have one.
    pub subscription_ids: SubscriptionIds,
}

impl Merged {
    fn heap_bytes(&self) -> usize {
        match &self.subscription_ids.0 {
            Ids::Few(_) => 0,
            Ids::Many(ids) => size_of_val(&**ids),
        }
    }
}

/// Subscription Identifiers in the order in which the Subscriptions were found. The same value stands here twice when
/// two Subscriptions were made with it, as the standard has it (5.0, section 3.3.4).
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct SubscriptionIds(Ids);

/// Up to two in place; a place without identifier is 0, which is none.
#[derive(Clone, Eq, PartialEq, Debug)]
enum Ids {
    Few([u32; 2]),
    Many(Box<[u32]>),
}

impl SubscriptionIds {
    /// All of them; none is 0.
    pub fn as_slice(&self) -> &[u32] {
        match &self.0 {
            Ids::Few([0, _]) => &[],
            Ids::Few([first, 0]) => std::slice::from_ref(first),
            Ids::Few(both) => both,
            Ids::Many(ids) => ids,
        }
    }
}

impl Default for SubscriptionIds {
    fn default() -> Self {
        Self(Ids::Few([0, 0]))
    }
}

impl FromIterator<u32> for SubscriptionIds {
    /// Leaves out 0, which stands for no identifier.
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut ids = ids.into_iter().filter(|&id| id != 0).fuse();
        let first = ids.next().unwrap_or(0);
        let second = ids.next().unwrap_or(0);
        match ids.next() {
            None => Self(Ids::Few([first, second])),
            Some(third) => Self(Ids::Many(
                [first, second, third].into_iter().chain(ids).collect(),
            )),
        }
    }
}

/// The working memory of look-ups, to be used again and again.
#[derive(Default)]
pub struct Lookup {
    /// What the trie found, in the order of discovery; a Session stands here once per Subscription.
    pub(crate) direct: Vec<(SessionKey, Grant)>,
    pub(crate) groups: Vec<GroupKey>,
    /// The levels of the Topic Name, as far as they were needed.
    pub(crate) levels: Vec<Level>,
    /// Nodes to be visited, and the level that is to be looked for there.
    pub(crate) pending: Vec<(u32, usize)>,
}

/// One level of a Topic Name: where its text stands, and its hash.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) hash: u64,
}

impl Lookup {
    pub(crate) fn clear(&mut self) {
        self.direct.clear();
        self.groups.clear();
        self.levels.clear();
        self.pending.clear();
    }

    /// Sorts and merges what was found into `route`.
    pub(crate) fn put_into(&mut self, route: &mut Route) {
        // Stable, so that a Session's Subscriptions keep the order of discovery.
        self.direct.sort_by_key(|(session, _)| *session);
        self.groups
            .sort_unstable_by_key(|group| (group.partition, group.slot));
        self.groups.dedup();
        route.direct.clear();
        let subscriptions = self.direct.chunk_by(|(one, _), (other, _)| one == other);
        route.direct.extend(subscriptions.filter_map(target));
        route.groups.clear();
        route.groups.extend_from_slice(&self.groups);
    }
}

/// All Subscriptions of one Session as a target.
fn target(subscriptions: &[(SessionKey, Grant)]) -> Option<Target> {
    if let [(session, grant)] = subscriptions
        && !grant.no_local
    {
        // Nearly always.
        return Some(Target {
            session: *session,
            merged: Merged {
                qos: grant.qos,
                retain_as_published: grant.retain_as_published,
                subscription_ids: SubscriptionIds(Ids::Few([grant.subscription_id, 0])),
            },
            for_publisher: None,
        });
    }
    let (session, _) = *subscriptions.first()?;
    let grants = || subscriptions.iter().map(|(_, grant)| grant);
    // v5[MQTT-3.8.3-3]
    let for_publisher = grants()
        .any(|grant| grant.no_local)
        .then(|| Box::new(merge(grants().filter(|grant| !grant.no_local))));
    Some(Target {
        session,
        merged: merge(grants())?,
        for_publisher,
    })
}

/// None of no Subscription.
fn merge<'g>(grants: impl Iterator<Item = &'g Grant> + Clone) -> Option<Merged> {
    Some(Merged {
        qos: grants.clone().map(|grant| grant.qos).max()?,
        retain_as_published: grants.clone().any(|grant| grant.retain_as_published),
        subscription_ids: grants.map(|grant| grant.subscription_id).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(qos: u8, subscription_id: u32) -> Grant {
        Grant {
            qos,
            no_local: false,
            retain_as_published: false,
            subscription_id,
        }
    }

    fn session(partition: u16, slot: u32) -> SessionKey {
        SessionKey {
            partition,
            slot,
            serial: 0,
        }
    }

    fn merged(qos: u8, ids: &[u32]) -> Merged {
        Merged {
            qos,
            retain_as_published: false,
            subscription_ids: ids.iter().copied().collect(),
        }
    }

    #[test]
    fn identifiers_of_any_number_are_kept_in_order() {
        let cases: [(&[u32], &[u32]); 6] = [
            (&[], &[]),
            (&[0, 0], &[]),
            (&[0, 7], &[7]),
            (&[9, 7], &[9, 7]),
            (&[9, 0, 7, 9], &[9, 7, 9]),
            (&[5, 4, 3, 2, 1], &[5, 4, 3, 2, 1]),
        ];
        for (given, kept) in cases {
            let ids: SubscriptionIds = given.iter().copied().collect();
            assert_eq!(ids.as_slice(), kept);
        }
    }

    #[test]
    fn overlapping_subscriptions_become_one_target() {
        let retaining = Grant {
            retain_as_published: true,
            ..grant(0, 3)
        };
        let subscriptions = [
            (session(1, 1), grant(1, 7)),
            (session(1, 1), grant(2, 0)),
            (session(1, 1), retaining),
        ];
        let expected = Target {
            session: session(1, 1),
            merged: Merged {
                retain_as_published: true,
                ..merged(2, &[7, 3])
            },
            for_publisher: None,
        };
        assert_eq!(target(&subscriptions), Some(expected));
        assert_eq!(target(&[]), None);
    }

    #[test]
    fn no_local_leaves_the_other_subscriptions() {
        let local = |qos, id| Grant {
            no_local: true,
            ..grant(qos, id)
        };
        let for_publisher =
            |subscriptions: &[(SessionKey, Grant)]| target(subscriptions).map(|t| t.for_publisher);
        let me = session(1, 1);
        assert_eq!(for_publisher(&[(me, grant(1, 1))]), Some(None));
        assert_eq!(
            for_publisher(&[(me, local(1, 1))]),
            Some(Some(Box::new(None)))
        );
        assert_eq!(
            for_publisher(&[(me, local(2, 1)), (me, grant(1, 2)), (me, local(0, 3))]),
            Some(Some(Box::new(Some(merged(1, &[2])))))
        );
    }

    #[test]
    fn routes_are_sorted() {
        let mut found = Lookup::default();
        let group = |partition, slot| GroupKey { partition, slot };
        for (partition, slot) in [(2, 1), (1, 9), (2, 0), (1, 9)] {
            found.direct.push((session(partition, slot), grant(0, 0)));
            found.groups.push(group(partition, slot));
        }
        let mut route = Route::default();
        found.put_into(&mut route);
        let sessions: Vec<SessionKey> = route.direct.iter().map(|target| target.session).collect();
        assert_eq!(sessions, [session(1, 9), session(2, 0), session(2, 1)]);
        assert_eq!(*route.groups, [group(1, 9), group(2, 0), group(2, 1)]);
    }

    #[test]
    fn a_target_is_small() {
        assert!(size_of::<Target>() <= 48, "{} bytes", size_of::<Target>());
    }
}
