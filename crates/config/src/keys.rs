//! The table of keys: name, aliases, scope, default, whether a reload changes it, one sentence, and
//! what becomes of it. Everything that knows a key's name derives from here: the parser, the errors,
//! `did you mean` and the reference page. The rows stand in `keys/`, by what becomes of them.

mod dunlin;
mod global;
mod later;
mod listener;

use crate::draft::{Draft, ListenerOptions, Security};
use crate::kind::Kind;

/// One key of the configuration language.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) scope: Scope,
    /// As it would be written; empty when there is none.
    pub(crate) default: &'static str,
    /// Whether a reload changes the value of a running broker.
    pub(crate) reloadable: bool,
    /// One sentence for the reference page.
    pub(crate) doc: &'static str,
    pub(crate) status: Status,
}

/// What becomes of a key.
pub(crate) enum Status {
    Supported(Setter),
    /// Mosquitto has it, this release does not. `harmless` are values that ask for nothing: they are
    /// accepted, with a warning.
    Later {
        area: &'static str,
        harmless: &'static [&'static str],
    },
    /// Accepted with a warning that says why it has no effect here.
    Ignored(&'static str),
}

/// Where the value of a supported key goes.
pub(crate) enum Setter {
    Global(Kind<Draft>),
    Listener(Kind<ListenerOptions>),
    Security(Kind<Security>),
    Structure(Structure),
}

/// Keys that change what the following lines mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    Listener,
    Port,
    BindAddress,
    PerListenerSettings,
    IncludeDir,
}

/// Where a key may stand and what it counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Anywhere, for the whole broker.
    Global,
    /// Below a `listener`, for it; before any, for the default listener.
    Listener,
    /// Below a `listener` only.
    BelowListener,
    /// For all listeners; with `per_listener_settings true` below a `listener`, for it.
    GlobalOrListener,
    /// Below a `connection`, for this bridge.
    Connection,
}

impl Scope {
    /// The scope in the words of the reference page.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Scope::Global => "broker",
            Scope::Listener => "listener",
            Scope::BelowListener => "below a listener",
            Scope::GlobalOrListener => "broker or listener",
            Scope::Connection => "bridge",
        }
    }
}

/// A part of the table, with its heading on the reference page.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key],
}

/// The whole table, in the order of the reference page.
pub(crate) static TABLE: [Section; 7] = [
    Section {
        title: "Listeners",
        keys: listener::KEYS,
    },
    Section {
        title: "Limits and behaviour",
        keys: global::KEYS,
    },
    Section {
        title: "Dunlin's own",
        keys: dunlin::KEYS,
    },
    Section {
        title: "Logging and process",
        keys: global::PROCESS_KEYS,
    },
    Section {
        title: "Accepted without effect",
        keys: later::IGNORED_KEYS,
    },
    Section {
        title: "Not in this release",
        keys: later::KEYS,
    },
    Section {
        title: "Bridges: not in this release",
        keys: later::BRIDGE_KEYS,
    },
];

/// Every key.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    TABLE.iter().flat_map(|section| section.keys.iter())
}

/// The key of this name or alias. A name that ends in `*` stands for all that begin like it.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.names().any(|known| is_named(known, name)))
}

/// All names and aliases that stand for themselves.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all()
        .flat_map(Key::names)
        .filter(|name| !name.ends_with('*'))
}

/// Whether a reload changes the value of this key in a running broker; false for unknown keys.
pub fn is_reloadable(key: &str) -> bool {
    find(key).is_some_and(|key| key.reloadable)
}

fn is_named(known: &str, name: &str) -> bool {
    match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix) && name.len() > prefix.len(),
        None => known == name,
    }
}

impl Key {
    fn names(&'static self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    const fn supported(
        name: &'static str,
        scope: Scope,
        default: &'static str,
        setter: Setter,
        doc: &'static str,
    ) -> Key {
        Key {
            name,
            aliases: &[],
            scope,
            default,
            reloadable: true,
            doc,
            status: Status::Supported(setter),
        }
    }

    const fn alias(mut self, aliases: &'static [&'static str]) -> Key {
        self.aliases = aliases;
        self
    }

    const fn needs_restart(mut self) -> Key {
        self.reloadable = false;
        self
    }
}

/// A row for a key of the whole broker.
const fn global(
    name: &'static str,
    default: &'static str,
    kind: Kind<Draft>,
    doc: &'static str,
) -> Key {
    Key::supported(name, Scope::Global, default, Setter::Global(kind), doc)
}

/// A row for a key of one listener.
const fn listener(
    name: &'static str,
    scope: Scope,
    default: &'static str,
    kind: Kind<ListenerOptions>,
    doc: &'static str,
) -> Key {
    Key::supported(name, scope, default, Setter::Listener(kind), doc)
}

/// A row for a key of the whole broker or, with `per_listener_settings`, of one listener.
const fn security(
    name: &'static str,
    default: &'static str,
    kind: Kind<Security>,
    doc: &'static str,
) -> Key {
    Key::supported(
        name,
        Scope::GlobalOrListener,
        default,
        Setter::Security(kind),
        doc,
    )
}

/// A row for a key that changes what the following lines mean.
const fn structure(
    name: &'static str,
    default: &'static str,
    what: Structure,
    doc: &'static str,
) -> Key {
    Key::supported(name, Scope::Global, default, Setter::Structure(what), doc).needs_restart()
}

/// A row for a key that Mosquitto has and this release has not.
const fn later(name: &'static str, scope: Scope, area: &'static str, doc: &'static str) -> Key {
    let status = Status::Later {
        area,
        harmless: &[],
    };
    Key {
        name,
        aliases: &[],
        scope,
        default: "",
        reloadable: false,
        doc,
        status,
    }
}

/// The same, for a key that asks for nothing when it has one of these values.
const fn later_unless(
    harmless: &'static [&'static str],
    name: &'static str,
    scope: Scope,
    area: &'static str,
    doc: &'static str,
) -> Key {
    let status = Status::Later { area, harmless };
    Key {
        name,
        aliases: &[],
        scope,
        default: "",
        reloadable: false,
        doc,
        status,
    }
}

/// A row for a key that has no effect here.
const fn ignored(name: &'static str, why: &'static str, doc: &'static str) -> Key {
    let status = Status::Ignored(why);
    Key {
        name,
        aliases: &[],
        scope: Scope::Global,
        default: "",
        reloadable: false,
        doc,
        status,
    }
}
