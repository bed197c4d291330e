//! Which of our crates may import which, and what the pure ones may take from others.
//!
//! Read from `[dependencies]` of each crate's manifest. What only tests need is free.

use super::Violation;
use super::tree::Tree;

const RULE: &str = "imports";

/// What one crate may depend on.
struct Permit {
    /// Its folder in `crates`.
    folder: &'static str,
    /// Folders of our crates.
    ours: &'static [&'static str],
    /// Crates of others; `None` for any.
    others: Option<&'static [&'static str]>,
}

const PERMITS: &[Permit] = &[
    Permit {
        folder: "packet",
        ours: &[],
        others: Some(&[]),
    },
    Permit {
        folder: "protocol",
        ours: &["packet"],
        others: Some(&["foldhash", "hashbrown"]),
    },
    Permit {
        folder: "route",
        ours: &["packet"],
        others: Some(&["foldhash", "hashbrown"]),
    },
    Permit {
        folder: "engine",
        ours: &["packet", "protocol", "route"],
        others: Some(&["foldhash", "hashbrown", "slab"]),
    },
    Permit {
        folder: "transport",
        ours: &[],
        others: None,
    },
    Permit {
        folder: "config",
        ours: &[],
        others: None,
    },
    Permit {
        folder: "server",
        ours: &[
            "config",
            "engine",
            "packet",
            "protocol",
            "route",
            "transport",
        ],
        others: None,
    },
    Permit {
        folder: "cli",
        ours: &["config", "packet", "protocol", "server", "transport"],
        others: None,
    },
    Permit {
        folder: "conformance",
        ours: &[],
        others: None,
    },
    Permit {
        folder: "xtask",
        ours: &["config", "conformance"],
        others: None,
    },
];

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    for file in tree.files() {
        let Some(folder) = crate_folder(&file.path) else {
            continue;
        };
        let mut report = |line: usize, sentence: String| {
            found.push(Violation {
                file: file.path.clone(),
                line,
                rule: RULE,
                sentence,
            });
        };
        let Some(permit) = PERMITS.iter().find(|permit| permit.folder == folder) else {
            report(
                1,
                format!("`{folder}` has no line in the table of what may import what"),
            );
            continue;
        };
        for (line, name) in dependencies(&file.text) {
            match (our_folder(&name), permit.others) {
                (Some(ours), _) if !permit.ours.contains(&ours) => {
                    report(
                        line,
                        format!(
                            "`{folder}` may not import `{ours}`, only {}",
                            list(permit.ours)
                        ),
                    );
                }
                (None, Some(others)) if !others.contains(&name.as_str()) => {
                    report(
                        line,
                        format!(
                            "`{folder}` may not depend on `{name}`, only on {}",
                            list(others)
                        ),
                    );
                }
                _ => {}
            }
        }
    }
}

/// `NAME` of `crates/NAME/Cargo.toml`.
fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
    (!folder.contains('/')).then_some(folder)
}

/// The folder of one of our packages.
fn our_folder(package: &str) -> Option<&str> {
    match package {
        "dunlin" => Some("cli"),
        "xtask" => Some("xtask"),
        _ => package.strip_prefix("dunlin-"),
    }
}

/// What a table of a manifest says about dependencies.
enum Table {
    /// Each line is one.
    Listing,
    /// It describes one of its own.
    Single,
    Other,
}

/// The packages that a manifest depends on outside of tests, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut table = Table::Other;
    for (index, line) in manifest.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or(header);
            let (kind, name) = table_of(header);
            found.extend(name.map(|name| (number, name.to_owned())));
            table = kind;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        match table {
            Table::Listing => {
                let name = key
                    .split('.')
                    .next()
                    .unwrap_or(key)
                    .trim()
                    .trim_matches('"');
                found.push((number, renamed(value).unwrap_or(name).to_owned()));
            }
            Table::Single if key.trim() == "package" => {
                found.push((number, value.trim().trim_matches('"').to_owned()));
            }
            Table::Single | Table::Other => {}
        }
    }
    found
}

/// The kind of a table, and the dependency that its header names.
fn table_of(header: &str) -> (Table, Option<&str>) {
    if header.contains("dev-dependencies") {
        return (Table::Other, None);
    }
    if header.ends_with("dependencies") && !header.starts_with("workspace") {
        return (Table::Listing, None);
    }
    match header.split_once("dependencies.") {
        Some((_, name)) => (Table::Single, Some(name.trim_matches('"'))),
        None => (Table::Other, None),
    }
}

/// `NAME` of `{ package = "NAME", .. }`.
fn renamed(value: &str) -> Option<&str> {
    let (_, after) = value.split_once("package")?;
    after.trim_start().strip_prefix('=')?.split('"').nth(1)
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => format!("`{}`", names.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    const MANIFEST: &str = "crates/route/Cargo.toml";

    fn check(path: &str, manifest: &str, expected: &[&str]) {
        testing::check(super::check, &[(path, manifest)], expected);
    }

    #[test]
    fn what_is_permitted_passes() {
        let manifest = "[package]\nname = \"dunlin-route\"\n\n[dependencies]\n# tokio = \"1\"\n\
                        hashbrown = { version = \"0.17\", features = [\n    \"inline-more\",\n] }\n\
                        dunlin-packet.workspace = true\n\n[dev-dependencies]\nrand = \"1\"\ndunlin-engine = \"1\"\n\n\
                        [dev-dependencies.tokio]\nversion = \"1\"\n";
        check(MANIFEST, manifest, &[]);
        check(
            "crates/server/Cargo.toml",
            "[dependencies]\ntokio = \"1\"\ndunlin-engine = \"1\"\n",
            &[],
        );
        check(
            "fuzz/Cargo.toml",
            "[dependencies]\ndunlin-engine = \"1\"\n",
            &[],
        );
    }

    #[test]
    fn our_crates_keep_their_direction() {
        let sentence = "`route` may not import `engine`, only `packet`";
        for manifest in [
            "[dependencies]\ndunlin-engine.workspace = true\n",
            "[dependencies]\nother = { package = \"dunlin-engine\", version = \"1\" }\n",
            "\n[dependencies.dunlin-engine]\nworkspace = true\n",
            "[target.'cfg(unix)'.dependencies]\n\"dunlin-engine\" = \"1\"\n",
            "[build-dependencies]\ndunlin-engine = \"1\"\n",
        ] {
            check(
                MANIFEST,
                manifest,
                &[&format!("{MANIFEST}:2: imports: {sentence}")],
            );
        }
        let cli = "crates/server/Cargo.toml";
        let only = "`config`, `engine`, `packet`, `protocol`, `route`, `transport`";
        let sentence = format!("{cli}:2: imports: `server` may not import `cli`, only {only}");
        check(cli, "[dependencies]\ndunlin = \"1\"\n", &[&sentence]);
    }

    #[test]
    fn pure_crates_take_little_from_others() {
        let manifest = "[dependencies]\nfoldhash = \"0.2\"\ntokio = \"1\"\n";
        let sentence = "`route` may not depend on `tokio`, only on `foldhash`, `hashbrown`";
        check(
            MANIFEST,
            manifest,
            &[&format!("{MANIFEST}:3: imports: {sentence}")],
        );
        let manifest = "[dependencies.x]\nversion = \"1\"\npackage = \"rand\"\n";
        let expected = [
            "crates/packet/Cargo.toml:1: imports: `packet` may not depend on `x`, only on none",
            "crates/packet/Cargo.toml:3: imports: `packet` may not depend on `rand`, only on none",
        ];
        check("crates/packet/Cargo.toml", manifest, &expected);
    }

    #[test]
    fn a_new_crate_needs_a_permit() {
        let expected = "crates/new/Cargo.toml:1: imports: `new` has no line in the table of what may import what";
        check("crates/new/Cargo.toml", "[package]\n", &[expected]);
    }
}
