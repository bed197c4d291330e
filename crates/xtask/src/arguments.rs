//! The words behind a subcommand: switches, and options with a value.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// What was written behind a subcommand.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    given: Vec<(String, String)>,
}

impl Arguments {
    /// Reads words of which `switches` stand alone and `options` are followed by their value.
    pub(crate) fn parse(
        words: &[String],
        switches: &[&str],
        options: &[&str],
    ) -> Result<Arguments> {
        let mut given = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = if switches.contains(&word.as_str()) {
                String::new()
            } else if options.contains(&word.as_str()) {
                words
                    .next()
                    .with_context(|| format!("{word} wants a value"))?
                    .clone()
            } else {
                bail!("unknown argument '{word}': cargo xtask help");
            };
            given.push((word.clone(), value));
        }
        Ok(Arguments { given })
    }

    /// Whether a switch was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option; the last one wins.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let found = self.given.iter().rev().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of an option that is a number.
    pub(crate) fn number<N: FromStr>(&self, name: &str, default: N) -> Result<N> {
        let Some(text) = self.value(name) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| anyhow!("{name} wants a number, got '{text}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words, &["--full"], &["--rounds", "--only"])
    }

    #[test]
    fn switches_and_options() {
        let arguments = parse("--full --rounds 5 --rounds 7").unwrap();
        assert!(arguments.has("--full"));
        assert!(!arguments.has("--only"));
        assert_eq!(arguments.number("--rounds", 3_u32).unwrap(), 7);
        assert_eq!(parse("").unwrap().number("--rounds", 3_u32).unwrap(), 3);
    }

    #[test]
    fn mistakes_are_told() {
        for (line, expected) in [
            ("--fast", "unknown argument '--fast': cargo xtask help"),
            ("--only", "--only wants a value"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), expected);
        }
        let arguments = parse("--rounds many").unwrap();
        let message = arguments.number("--rounds", 3_u32).unwrap_err().to_string();
        assert_eq!(message, "--rounds wants a number, got 'many'");
    }
}
