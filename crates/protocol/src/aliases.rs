//! Topic Aliases, both directions. Both live exactly as long as one Network Connection
//! (v5[MQTT-3.3.2-7]).

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::on_demand::OnDemand;

/// The aliases that the peer has set: alias to Topic Name.
#[derive(Debug, Default)]
pub struct InboundAliases {
    maximum: u16,
    topics: OnDemand<Vec<Option<Arc<str>>>>,
}

/// The peer named a Topic Alias that it may not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasError {
    /// Zero, or above the Topic Alias Maximum that we announced: Reason Code 0x94.
    Invalid {
        /// The alias in the packet.
        alias: u16,
        /// The Topic Alias Maximum in force.
        maximum: u16,
    },
    /// No Topic Name was ever set for it on this connection: Reason Code 0x82.
    Unknown {
        /// The alias in the packet.
        alias: u16,
    },
}

impl InboundAliases {
    /// No alias set; the peer may use 1 to `maximum`. Nothing is allocated until it does.
    #[must_use]
    pub fn new(maximum: u16) -> Self {
        Self {
            maximum,
            topics: OnDemand::default(),
        }
    }

    /// Remembers `topic` under `alias`, replacing an earlier Topic Name.
    ///
    /// # Errors
    /// `Invalid` outside 1 to the maximum (v5[MQTT-3.3.2-9], v5[MQTT-3.2.2-17]).
    pub fn set(&mut self, alias: u16, topic: &Arc<str>) -> Result<(), AliasError> {
        let index = self.index(alias)?;
        let topics = self.topics.make();
        if topics.len() <= index {
            topics.resize(index + 1, None);
        }
        if let Some(slot) = topics.get_mut(index) {
            *slot = Some(Arc::clone(topic));
        }
        Ok(())
    }

    /// The Topic Name behind `alias`.
    ///
    /// # Errors
    /// `Invalid` outside 1 to the maximum, `Unknown` when it was never set.
    pub fn get(&self, alias: u16) -> Result<&Arc<str>, AliasError> {
        let index = self.index(alias)?;
        self.topics
            .get()
            .and_then(|topics| topics.get(index)?.as_ref())
            .ok_or(AliasError::Unknown { alias })
    }

    fn index(&self, alias: u16) -> Result<usize, AliasError> {
        let maximum = self.maximum;
        if alias == 0 || alias > maximum {
            return Err(AliasError::Invalid { alias, maximum });
        }
        Ok(usize::from(alias) - 1)
    }
}

/// The aliases that we have set: Topic Name to alias, in the order of first use.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    aliases: OnDemand<HashMap<Arc<str>, u16, FixedState>>,
}

/// How the next PUBLISH for a topic is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasUse {
    /// Topic Name alone: the peer allows no alias, or all are taken.
    None,
    /// Topic Name and this new alias.
    New(u16),
    /// The alias alone, with an empty Topic Name.
    Known(u16),
}

impl OutboundAliases {
    /// No alias in use; the peer accepts 1 to `maximum`.
    #[must_use]
    pub fn new(maximum: u16) -> Self {
        Self {
            maximum,
            aliases: OnDemand::default(),
        }
    }

    /// Whether the peer accepts any alias (v5[MQTT-3.1.2-27]).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.maximum != 0
    }

    /// What to send for `topic`, without changing anything.
    ///
    /// Never above the peer's maximum: v5[MQTT-3.1.2-26], v5[MQTT-3.3.2-11].
    #[must_use]
    pub fn plan(&self, topic: &str) -> AliasUse {
        if self.maximum == 0 {
            return AliasUse::None;
        }
        let aliases = self.aliases.get();
        if let Some(&alias) = aliases.and_then(|aliases| aliases.get(topic)) {
            return AliasUse::Known(alias);
        }
        let used = aliases.map_or(0, HashMap::len);
        let maximum = if mutant::is_active(Mutant::AliasAboveMaximum) {
            u16::MAX
        } else {
            self.maximum
        };
        match u16::try_from(used + 1) {
            Ok(next) if next <= maximum => AliasUse::New(next),
            _ => AliasUse::None,
        }
    }

    /// Notes that a PUBLISH with `AliasUse::New(alias)` for `topic` was put on the wire.
    pub fn sent(&mut self, topic: &Arc<str>, alias: u16) {
        self.aliases.make().insert(Arc::clone(topic), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn inbound_aliases_are_set_replaced_and_read() {
        let mut aliases = InboundAliases::new(2);
        assert_eq!(aliases.get(1), Err(AliasError::Unknown { alias: 1 }));
        aliases.set(2, &topic("b")).unwrap();
        assert_eq!(aliases.get(1), Err(AliasError::Unknown { alias: 1 }));
        assert_eq!(aliases.get(2).unwrap().as_ref(), "b");
        aliases.set(2, &topic("c")).unwrap();
        assert_eq!(aliases.get(2).unwrap().as_ref(), "c");
    }

    #[test]
    fn inbound_aliases_outside_the_maximum_are_invalid() {
        let mut aliases = InboundAliases::new(2);
        for alias in [0, 3, u16::MAX] {
            let error = AliasError::Invalid { alias, maximum: 2 };
            assert_eq!(aliases.set(alias, &topic("a")), Err(error));
            assert_eq!(aliases.get(alias), Err(error));
        }
        assert_eq!(
            InboundAliases::new(0).get(1),
            Err(AliasError::Invalid {
                alias: 1,
                maximum: 0
            })
        );
    }

    #[test]
    fn outbound_aliases_are_used_from_the_first_message_up_to_the_maximum() {
        let mut aliases = OutboundAliases::new(2);
        for (name, expected) in [("a", 1), ("b", 2)] {
            assert_eq!(aliases.plan(name), AliasUse::New(expected));
            aliases.sent(&topic(name), expected);
        }
        assert_eq!(aliases.plan("a"), AliasUse::Known(1));
        assert_eq!(aliases.plan("b"), AliasUse::Known(2));
        assert_eq!(aliases.plan("c"), AliasUse::None);
    }

    #[test]
    fn no_alias_where_the_peer_allows_none() {
        assert_eq!(OutboundAliases::new(0).plan("a"), AliasUse::None);
        assert!(!OutboundAliases::new(0).is_enabled());
    }
}
