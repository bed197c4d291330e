//! From the draft to the configuration: which listeners there are, what each of them got from whom,
//! and what can only be judged when everything has been read.

use std::collections::HashMap;

use crate::draft::{ListenerDraft, ListenerOptions, Security};
use crate::error::{ConfigErrors, Place, Warning};
use crate::model::{ListenAddress, Listener, Loaded};
use crate::parser::Parser;

/// Port of local-only mode.
const LOCAL_PORT: u16 = 1883;

impl Parser {
    /// The configuration, if nothing was wrong.
    pub(crate) fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        let local_only = !self.network_named;
        let allow_zero_length = self.same_for_all("allow_zero_length_clientid", true, |security| {
            security.allow_zero_length_clientid
        });
        let auto_id_prefix = self.same_for_all("auto_id_prefix", "auto-".to_owned(), |security| {
            security.auto_id_prefix.clone()
        });
        let listeners = if local_only {
            self.local_listeners()
        } else {
            self.named_listeners()
        };
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        let mut config = self.draft.config;
        config.listeners = listeners;
        config.local_only = local_only;
        config.allow_zero_length_clientid = allow_zero_length;
        config.auto_id_prefix = auto_id_prefix;
        Ok(Loaded {
            config,
            warnings: self.warnings,
        })
    }

    /// Local-only mode. Options that stand before any listener count for both loopback listeners.
    fn local_listeners(&self) -> Vec<Listener> {
        let written = self
            .listeners
            .first()
            .map(|listener| listener.options.clone())
            .unwrap_or_default();
        let options = self.for_all.over(&written);
        let mut listeners = Listener::local(LOCAL_PORT).to_vec();
        for listener in &mut listeners {
            self.write_options(listener, &options, true);
        }
        listeners
    }

    fn named_listeners(&mut self) -> Vec<Listener> {
        let drafts = std::mem::take(&mut self.listeners);
        let mut listeners: Vec<Listener> = Vec::new();
        let mut places: HashMap<ListenAddress, Place> = HashMap::new();
        for draft in drafts {
            if let Some(key) = draft.implied_by {
                let message = format!(
                    "'{key}' stands before any 'listener', so it opens the default listener on port 1883, as in \
                     Mosquitto; put it below the listener that it is for"
                );
                self.warning(&draft.place, message);
            }
            let ListenerDraft {
                place,
                address: Some(address),
                options,
                ..
            } = draft
            else {
                continue;
            };
            if let Some(other) = places.get(&address) {
                self.error(
                    &place,
                    format!("this listener has the same address as the one at {other}"),
                );
                continue;
            }
            let mut listener = Listener {
                address: address.clone(),
                allow_anonymous: false,
                max_connections: None,
                max_qos: 2,
                max_topic_alias: 10,
                max_topic_alias_broker: 10,
                origin: place.to_string(),
            };
            self.write_options(&mut listener, &self.for_all.over(&options), false);
            listeners.push(listener);
            places.insert(address, place);
        }
        listeners
    }

    /// Puts the written options over the defaults that `listener` holds.
    fn write_options(
        &self,
        listener: &mut Listener,
        options: &ListenerOptions,
        anonymous_default: bool,
    ) {
        let of_listener = options.security.allow_anonymous;
        let of_broker = self.draft.security.allow_anonymous;
        listener.allow_anonymous = of_listener.or(of_broker).unwrap_or(anonymous_default);
        // 0 is without limit.
        let max_connections = options
            .max_connections
            .and_then(|max| u32::try_from(max).ok());
        listener.max_connections = max_connections.filter(|max| *max > 0);
        listener.max_qos = options.max_qos.unwrap_or(listener.max_qos);
        listener.max_topic_alias = options.max_topic_alias.unwrap_or(listener.max_topic_alias);
        listener.max_topic_alias_broker = options
            .max_topic_alias_broker
            .unwrap_or(listener.max_topic_alias_broker);
    }

    /// The value of an option that may be written per listener but that this release has once for
    /// all of them: listeners that differ are an error.
    fn same_for_all<T: Clone + PartialEq>(
        &mut self,
        key: &str,
        default: T,
        pick: fn(&Security) -> Option<T>,
    ) -> T {
        if let Some(value) = pick(&self.for_all.security) {
            return value;
        }
        let of_broker = pick(&self.draft.security).unwrap_or(default);
        let mut values = self.listeners.iter().map(|listener| {
            let value = pick(&listener.options.security).unwrap_or_else(|| of_broker.clone());
            (value, &listener.place)
        });
        let Some((common, _)) = values.next() else {
            return of_broker;
        };
        let odd: Vec<Place> = values
            .filter(|(value, _)| *value != common)
            .map(|(_, place)| place.clone())
            .collect();
        for place in odd {
            let message = format!(
                "this listener differs from the first in '{key}'; this release has one value for all"
            );
            self.error(&place, message);
        }
        common
    }
}

/// Loopback listeners on the ports of the command line (`-p`) instead of 1883. They are ignored, with
/// a warning, when the file configures a listener. Without ports nothing changes.
pub fn with_ports(mut loaded: Loaded, ports: &[u16]) -> Loaded {
    if ports.is_empty() {
        return loaded;
    }
    if !loaded.config.local_only {
        loaded.warnings.push(Warning {
            file: "command line".to_owned(),
            line: 0,
            message: "the port is ignored: the configuration has listeners of its own".to_owned(),
        });
        return loaded;
    }
    let Some(model) = loaded.config.listeners.first().cloned() else {
        return loaded;
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for port in ports {
        for local in Listener::local(*port) {
            // Port 0 is another free port each time.
            let taken = *port != 0
                && listeners
                    .iter()
                    .any(|listener| listener.address == local.address);
            if !taken {
                let origin = "command line".to_owned();
                listeners.push(Listener {
                    address: local.address,
                    origin,
                    ..model.clone()
                });
            }
        }
    }
    loaded.config.listeners = listeners;
    loaded
}
