//! Settings from outside of the files: `--set KEY=VALUE` and variables `DUNLIN_KEY`. Both become
//! pairs of key and value that [`crate::load`] takes; the caller reads the environment.

use crate::error::{ConfigError, Place, Warning};
use crate::keys;
use crate::suggest;
use crate::values::{shown, trim};

/// What all variables begin with.
const PREFIX: &str = "DUNLIN_";

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Keys and values, in the order of the keys. Those of the command line belong behind them.
    pub overrides: Vec<(String, String)>,
    /// Variables that look like ours and name no key.
    pub warnings: Vec<Warning>,
}

/// The pair of a `--set KEY=VALUE`.
///
/// # Errors
/// When there is no `=` or nothing before it.
pub fn set_argument(argument: &str) -> Result<(String, String), ConfigError> {
    let place = Place::of_file("--set");
    let found = shown(argument);
    match argument.split_once('=') {
        Some((key, value)) if !trim(key).is_empty() => {
            Ok((trim(key).to_owned(), trim(value).to_owned()))
        }
        Some(_) | None => Err(place.error(format!("'{found}' is not KEY=VALUE"))),
    }
}

/// The settings among the environment's variables: `DUNLIN_MAX_PACKET_SIZE` sets `max_packet_size`.
/// A variable that names no key is left out with a warning, for the environment is not ours alone;
/// those that Kubernetes makes for a service called "dunlin" are left out in silence.
pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
    let mut found: Vec<(String, String, String)> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?.to_lowercase();
            Some((key, name, value))
        })
        .collect();
    found.sort();
    let mut environment = Environment::default();
    for (key, name, value) in found {
        if is_service_link(&key, &value) {
            continue;
        }
        if keys::find(&key).is_some() {
            environment.overrides.push((key, value));
            continue;
        }
        let hint = match suggest::nearest(&key, keys::names()) {
            Some(known) => format!("; did you mean '{PREFIX}{}'?", known.to_uppercase()),
            None => String::new(),
        };
        let message = format!(
            "the variable '{}' names no key and is ignored{hint}",
            shown(&name)
        );
        environment
            .warnings
            .push(Place::of_file("environment").warning(message));
    }
    environment
}

/// `DUNLIN_SERVICE_HOST`, `DUNLIN_PORT=tcp://..`, `DUNLIN_PORT_1883_TCP_ADDR` and their like.
fn is_service_link(key: &str, value: &str) -> bool {
    let port = key == "port" && value.contains("://");
    port || key.starts_with("port_") || key == "service_host" || key.starts_with("service_port")
}
