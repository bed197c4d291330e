//! Those who subscribe with one Topic Filter: the Sessions, and the Shared Subscriptions as a whole. Nearly every
//! filter has one subscriber, which is kept in place.

use foldhash::fast::FixedState;

use crate::keys::{Grant, GroupKey, SessionKey};
use crate::members::Members;
use crate::resolve::Lookup;

/// The subscribers of one node.
#[derive(Default)]
pub(crate) enum Subscribers {
    #[default]
    Nobody,
    One(SessionKey, Grant),
    Crowd(Box<Crowd>),
}

/// What one Session alone does not need.
#[derive(Default)]
pub(crate) struct Crowd {
    sessions: Members<SessionKey, Grant>,
    groups: Members<GroupKey, ()>,
}

impl Subscribers {
    /// Adds or replaces; returns what was replaced.
    pub(crate) fn subscribe(
        &mut self,
        session: SessionKey,
        grant: Grant,
        state: &FixedState,
    ) -> Option<Grant> {
        match self {
            Self::Nobody => {
                *self = Self::One(session, grant);
                None
            }
            Self::One(held, old) if *held == session => Some(std::mem::replace(old, grant)),
            Self::One(..) | Self::Crowd(_) => {
                self.with_crowd(state, |crowd| crowd.sessions.insert(session, grant, state))
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, session: SessionKey, state: &FixedState) -> Option<Grant> {
        match self {
            Self::One(held, old) if *held == session => {
                let old = *old;
                *self = Self::Nobody;
                Some(old)
            }
            Self::Nobody | Self::One(..) => None,
            Self::Crowd(crowd) => {
                let old = crowd.sessions.remove(&session, state);
                self.settle();
                old
            }
        }
    }

    /// False when the group was there already.
    pub(crate) fn add_group(&mut self, group: GroupKey, state: &FixedState) -> bool {
        self.with_crowd(state, |crowd| {
            crowd.groups.insert(group, (), state).is_none()
        })
    }

    /// False when the group was not there.
    pub(crate) fn remove_group(&mut self, group: GroupKey, state: &FixedState) -> bool {
        let Self::Crowd(crowd) = self else {
            return false;
        };
        let removed = crowd.groups.remove(&group, state).is_some();
        self.settle();
        removed
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    pub(crate) fn collect_into(&self, found: &mut Lookup) {
        match self {
            Self::Nobody => {}
            Self::One(session, grant) => found.direct.push((*session, *grant)),
            Self::Crowd(crowd) => {
                found.direct.extend_from_slice(crowd.sessions.as_slice());
                found
                    .groups
                    .extend(crowd.groups.as_slice().iter().map(|(group, ())| *group));
            }
        }
    }

    /// Bytes held outside the node.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Nobody | Self::One(..) => 0,
            Self::Crowd(crowd) => {
                size_of::<Crowd>() + crowd.sessions.heap_bytes() + crowd.groups.heap_bytes()
            }
        }
    }

    /// Changes the crowd, made of what there is if there was none.
    fn with_crowd<R>(&mut self, state: &FixedState, change: impl FnOnce(&mut Crowd) -> R) -> R {
        if let Self::Crowd(crowd) = self {
            return change(crowd);
        }
        let mut crowd = Box::<Crowd>::default();
        if let Self::One(session, grant) = self {
            crowd.sessions.insert(*session, *grant, state);
        }
        let result = change(&mut crowd);
        *self = Self::Crowd(crowd);
        result
    }

    /// Back to the small forms once they suffice.
    fn settle(&mut self) {
        let Self::Crowd(crowd) = self else {
            return;
        };
        if !crowd.groups.as_slice().is_empty() {
            return;
        }
        let small = match crowd.sessions.as_slice() {
            [] => Self::Nobody,
            [(session, grant)] => Self::One(*session, *grant),
            _ => return,
        };
        *self = small;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(slot: u32) -> SessionKey {
        SessionKey {
            partition: 1,
            slot,
            serial: 1,
        }
    }

    const GRANT: Grant = Grant {
        qos: 1,
        no_local: false,
        retain_as_published: false,
        subscription_id: 0,
    };

    #[test]
    fn goes_back_to_nothing() {
        let state = FixedState::with_seed(1);
        let mut subscribers = Subscribers::default();
        let group = GroupKey {
            partition: 1,
            slot: 9,
        };
        assert_eq!(subscribers.subscribe(session(1), GRANT, &state), None);
        assert_eq!(
            subscribers.subscribe(session(1), GRANT, &state),
            Some(GRANT)
        );
        assert_eq!(subscribers.heap_bytes(), 0);
        assert!(subscribers.add_group(group, &state));
        assert!(!subscribers.add_group(group, &state));
        assert_eq!(subscribers.subscribe(session(2), GRANT, &state), None);
        assert_eq!(subscribers.unsubscribe(session(1), &state), Some(GRANT));
        assert_eq!(subscribers.unsubscribe(session(1), &state), None);
        assert!(subscribers.remove_group(group, &state));
        assert!(!subscribers.remove_group(group, &state));
        assert_eq!(subscribers.heap_bytes(), 0);
        assert_eq!(subscribers.unsubscribe(session(2), &state), Some(GRANT));
        assert!(subscribers.is_empty());
    }

    #[test]
    fn collects_sessions_and_groups() {
        let state = FixedState::with_seed(1);
        let mut subscribers = Subscribers::default();
        let group = GroupKey {
            partition: 1,
            slot: 9,
        };
        for slot in 0..100 {
            subscribers.subscribe(session(slot), GRANT, &state);
        }
        subscribers.add_group(group, &state);
        let mut found = Lookup::default();
        subscribers.collect_into(&mut found);
        assert_eq!(found.direct.len(), 100);
        assert_eq!(found.groups, [group]);
    }
}
