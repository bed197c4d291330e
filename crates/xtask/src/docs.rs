//! The pages of `docs/` that are made from tables: they are written here and compared by `tidy`.

use std::fs;

use anyhow::{Context, Result};
use dunlin_conformance::report::Manifest;

use crate::arguments::Arguments;
use crate::{conformance, workspace};

/// The reference of all configuration keys.
pub(crate) const CONFIGURATION: &str = "docs/configuration.md";
/// Every statement of the standard with its cases.
pub(crate) const CONFORMANCE: &str = "docs/conformance.md";

pub(crate) fn run(words: &[String]) -> Result<()> {
    Arguments::parse(words, &[], &[])?;
    write(CONFIGURATION, &configuration())?;
    // The page says that the cases prove the statements, so it is written only when they pass.
    conformance::prove().with_context(|| format!("{CONFORMANCE} is left as it was"))?;
    write(CONFORMANCE, &report())
}

pub(crate) fn configuration() -> String {
    dunlin_config::reference_markdown()
}

pub(crate) fn report() -> String {
    Manifest::new(&dunlin_conformance::all()).render()
}

fn write(page: &str, text: &str) -> Result<()> {
    let path = workspace::root().join(page);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {page}");
    Ok(())
}
