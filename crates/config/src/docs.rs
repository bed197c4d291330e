//! The reference page of all keys, rendered from the table.

use std::fmt::Write as _;

use crate::keys::{Key, Section, Setter, Status, Structure, TABLE};

/// Every key as Markdown: one section for each part of the table, in its order.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Dunlin reads `mosquitto.conf`. A line is `KEY VALUE`; a line that begins with `#` is a comment. Behind a \
         number or a word the rest of the line is ignored, so a comment may stand there; a text or a path is the \
         whole rest of the line. `--set KEY=VALUE` and variables `DUNLIN_KEY` count after the file and replace what \
         it says; an option of listeners then counts for all of them. Without `listener`, `port` and `bind_address` \
         only this host can connect.\n",
    );
    for section in &TABLE {
        write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &Section) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {}\n\n", section.title);
    let supported = section
        .keys
        .iter()
        .any(|key| matches!(key.status, Status::Supported(_)));
    page.push_str(if supported {
        "| Key | Value | Default | For | Reload | Meaning |\n|---|---|---|---|---|---|\n"
    } else {
        "| Key | For | Meaning | Here |\n|---|---|---|---|\n"
    });
    for key in section.keys {
        let name = names(key);
        let scope = key.scope.text();
        let doc = key.doc.replace('|', "\\|");
        let _ = match &key.status {
            Status::Supported(setter) => {
                let (value, default, reload) = (
                    value(setter),
                    default(key),
                    if key.reloadable { "yes" } else { "no" },
                );
                writeln!(
                    page,
                    "| {name} | {value} | {default} | {scope} | {reload} | {doc} |"
                )
            }
            Status::Later { area, harmless: [] } => {
                writeln!(page, "| {name} | {scope} | {doc} | error ({area}) |")
            }
            Status::Later { area, harmless } => {
                let accepted = harmless.join("`, `");
                writeln!(
                    page,
                    "| {name} | {scope} | {doc} | error ({area}), but for `{accepted}` |"
                )
            }
            Status::Ignored(why) => writeln!(page, "| {name} | {scope} | {doc} | {why} |"),
        };
    }
}

fn names(key: &Key) -> String {
    match key.aliases {
        [] => format!("`{}`", key.name),
        aliases => format!("`{}` (also `{}`)", key.name, aliases.join("`, `")),
    }
}

fn default(key: &Key) -> String {
    if key.default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", key.default)
    }
}

fn value(setter: &Setter) -> String {
    match setter {
        Setter::Global(kind) => kind.expected(),
        Setter::Listener(kind) => kind.expected(),
        Setter::Security(kind) => kind.expected(),
        Setter::Structure(Structure::Listener) => "a port and an address".to_owned(),
        Setter::Structure(Structure::Port) => "a number from 1 to 65535".to_owned(),
        Setter::Structure(Structure::BindAddress) => "a host name or address".to_owned(),
        Setter::Structure(Structure::PerListenerSettings) => "true or false".to_owned(),
        Setter::Structure(Structure::IncludeDir) => "a path".to_owned(),
    }
}
