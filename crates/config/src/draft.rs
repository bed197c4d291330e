//! The configuration while it is being read: what the setters of the table write to. Nothing here
//! is resolved yet; an option that was not written is `None`.

use std::path::PathBuf;

use crate::error::Place;
use crate::model::{Config, ListenAddress, LogDest, LogTypes};

/// The options that do not belong to one listener.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) config: Config,
    pub(crate) security: Security,
    /// The first `log_dest` and the first `log_type` replace the defaults, the others add to them.
    log_dest_written: bool,
    log_type_written: bool,
}

/// Options that are written for all listeners or, with `per_listener_settings`, for one.
#[derive(Clone, Default)]
pub(crate) struct Security {
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) allow_zero_length_clientid: Option<bool>,
    pub(crate) auto_id_prefix: Option<String>,
}

/// What is written below one listener.
#[derive(Clone, Default)]
pub(crate) struct ListenerOptions {
    /// 0 is without limit.
    pub(crate) max_connections: Option<i64>,
    pub(crate) max_qos: Option<u8>,
    pub(crate) max_topic_alias: Option<u16>,
    pub(crate) max_topic_alias_broker: Option<u16>,
    pub(crate) security: Security,
}

/// One listener as written.
pub(crate) struct ListenerDraft {
    pub(crate) place: Place,
    /// `None` when its line was wrong: an error has been recorded.
    pub(crate) address: Option<ListenAddress>,
    /// The key that made the default listener without naming a port or an address.
    pub(crate) implied_by: Option<&'static str>,
    pub(crate) options: ListenerOptions,
}

impl Draft {
    /// Adds a destination; false when it is a second file.
    pub(crate) fn log_to(&mut self, dest: LogDest) -> bool {
        let dests = &mut self.config.log.dests;
        if !self.log_dest_written || dest == LogDest::None {
            dests.clear();
        }
        self.log_dest_written = true;
        let is_file = |dest: &LogDest| matches!(dest, LogDest::File(_));
        if is_file(&dest) && dests.iter().any(is_file) {
            return false;
        }
        dests.retain(|other| *other != LogDest::None);
        if !dests.contains(&dest) {
            dests.push(dest);
        }
        true
    }

    pub(crate) fn log_to_file(&mut self, path: PathBuf) -> bool {
        self.log_to(LogDest::File(path))
    }

    pub(crate) fn log_type(&mut self, change: fn(&mut LogTypes)) {
        if !self.log_type_written {
            self.config.log.types = LogTypes::NONE;
        }
        self.log_type_written = true;
        change(&mut self.config.log.types);
    }

    /// From here on the lists begin anew: overrides replace what the file says.
    pub(crate) fn restart_lists(&mut self) {
        self.log_dest_written = false;
        self.log_type_written = false;
    }
}

impl ListenerOptions {
    /// `self` where it says something, else `below`.
    pub(crate) fn over(&self, below: &ListenerOptions) -> ListenerOptions {
        let (own, other) = (&self.security, &below.security);
        ListenerOptions {
            max_connections: self.max_connections.or(below.max_connections),
            max_qos: self.max_qos.or(below.max_qos),
            max_topic_alias: self.max_topic_alias.or(below.max_topic_alias),
            max_topic_alias_broker: self.max_topic_alias_broker.or(below.max_topic_alias_broker),
            security: Security {
                allow_anonymous: own.allow_anonymous.or(other.allow_anonymous),
                allow_zero_length_clientid: own
                    .allow_zero_length_clientid
                    .or(other.allow_zero_length_clientid),
                auto_id_prefix: own
                    .auto_id_prefix
                    .clone()
                    .or_else(|| other.auto_id_prefix.clone()),
            },
        }
    }
}
