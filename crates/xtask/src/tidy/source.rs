//! Just enough of Rust's grammar for the rules: what is code, what comment and what text, words,
//! blocks, and which parts are compiled for tests only.

use std::ops::Range;

/// A Rust file in two layers of the same length, blank where the other layers are: offsets and lines
/// are those of the file.
#[derive(Debug)]
pub(super) struct Layers {
    /// Neither comments nor the contents of strings and characters.
    pub(super) code: String,
    pub(super) comments: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Code,
    Comment,
    Text,
}

impl Layers {
    pub(super) fn of(source: &str) -> Layers {
        let bytes = source.as_bytes();
        let mut layers: Vec<Layer> = Vec::with_capacity(bytes.len());
        while layers.len() < bytes.len() {
            let at = layers.len();
            let before = at.checked_sub(1).map(|before| bytes[before]);
            let (layer, len) = token(&bytes[at..], before);
            layers.resize((at + len).min(bytes.len()), layer);
        }
        Layers {
            code: only(Layer::Code, bytes, &layers),
            comments: only(Layer::Comment, bytes, &layers),
        }
    }
}

fn only(wanted: Layer, bytes: &[u8], layers: &[Layer]) -> String {
    let keep = |(byte, layer): (&u8, &Layer)| {
        if *layer == wanted || *byte == b'\n' {
            *byte
        } else {
            b' '
        }
    };
    let kept: Vec<u8> = bytes.iter().zip(layers).map(keep).collect();
    // Whole characters belong to one layer, so nothing is lost here.
    String::from_utf8_lossy(&kept).into_owned()
}

/// What begins here, and how many bytes belong to it.
fn token(rest: &[u8], before: Option<u8>) -> (Layer, usize) {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => {
            let end = rest.iter().position(|byte| *byte == b'\n');
            (Layer::Comment, end.unwrap_or(rest.len()))
        }
        [b'/', b'*', ..] => (Layer::Comment, block_comment(rest)),
        [b'"', ..] => (Layer::Text, quoted(rest)),
        [b'\'', ..] => character(rest).map_or((Layer::Code, 1), |len| (Layer::Text, len)),
        [b'r' | b'b' | b'c', ..] if !in_word => {
            raw_string(rest).map_or((Layer::Code, 1), |len| (Layer::Text, len))
        }
        _ => (Layer::Code, 1),
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a string that begins with its quote.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character that begins with its quote; `None` for a lifetime or a label.
fn character(rest: &[u8]) -> Option<usize> {
    match *rest.get(1)? {
        b'\\' => {
            // What is escaped may be a quote itself.
            let close = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
            Some(close + 4)
        }
        first => {
            let len = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
        }
    }
}

/// The length of `r"..."`, `r#"..."#`, `br"..."`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let start = match rest {
        [b'r', ..] => 1,
        [b'b' | b'c', b'r', ..] => 2,
        _ => return None,
    };
    let hashes = rest[start..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = start + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let end = rest[open + 1..]
        .windows(close.len())
        .position(|bytes| bytes == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The words of a text with their offsets: identifiers, keywords, numbers.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find(is_word)?;
        let rest = &text[start..];
        let len = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        from = start + len;
        Some((start, &rest[..len]))
    })
}

/// The offset behind the brace that closes the one at `open`.
pub(super) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The items that are compiled for tests only.
pub(super) fn test_ranges(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(";
    let mut ranges = Vec::new();
    for (at, _) in code.match_indices(ATTRIBUTE) {
        let condition = &code[at + ATTRIBUTE.len()..];
        if !condition.starts_with("test)") && !condition.starts_with("all(test") {
            continue;
        }
        let Some(first) = code[at..].find(['{', ';']).map(|first| at + first) else {
            continue;
        };
        let is_block = code[first..].starts_with('{');
        ranges.push(
            at..if is_block {
                block_end(code, first)
            } else {
                first + 1
            },
        );
    }
    ranges
}

/// The modules among these items that have files of their own.
pub(super) fn test_modules<'c>(code: &'c str, ranges: &[Range<usize>]) -> Vec<&'c str> {
    let name = |range: &Range<usize>| {
        let item = &code[range.clone()];
        let mut names = words(item)
            .map(|(_, word)| word)
            .skip_while(|word| *word != "mod")
            .skip(1);
        names.next().filter(|_| item.ends_with(';'))
    };
    ranges.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, code: &str, comments: &str) {
        let layers = Layers::of(source);
        assert_eq!(layers.code, code, "{source}");
        assert_eq!(layers.comments, comments, "{source}");
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        check("a // b\nc", "a     \nc", "  // b\n ");
        check(
            "a /* b /* c */ d */ e",
            "a                   e",
            "  /* b /* c */ d */  ",
        );
        check("a \"// b\\\"\" c", "a          c", "            ");
        check(
            "x(r#\"a\"b\"#, b\"y\")",
            "x(        , b   )",
            "                 ",
        );
        check(
            "r#type br\"z\" broker",
            "r#type       broker",
            "                   ",
        );
    }

    #[test]
    fn characters_are_texts_and_lifetimes_are_not() {
        check(
            "f('a', '\\'', '\\\\', b'\"')",
            "f(   ,     ,     , b   )",
            "                        ",
        );
        check(
            "fn f<'a>(x: &'a str) { 'l: loop {} }",
            "fn f<'a>(x: &'a str) { 'l: loop {} }",
            &" ".repeat(36),
        );
        check("'ä' '\\u{e4}' ä", "              ä", "                ");
    }

    #[test]
    fn every_layer_keeps_its_lines() {
        let source = "one /* a\nb */ \"two\nthree\" four\n";
        let layers = Layers::of(source);
        for layer in [&layers.code, &layers.comments] {
            assert_eq!(layer.len(), source.len());
            assert_eq!(layer.lines().count(), source.lines().count());
        }
    }

    #[test]
    fn words_have_offsets() {
        let found: Vec<_> = words("fn a_1(ä: u8)").collect();
        assert_eq!(found, [(0, "fn"), (3, "a_1"), (7, "ä"), (11, "u8")]);
    }

    #[test]
    fn blocks_end_at_their_own_brace() {
        assert_eq!(block_end("{a{b}c}d", 0), 7);
        assert_eq!(block_end("{a{b}c}d", 2), 5);
        assert_eq!(block_end("{a", 0), 2);
    }

    #[test]
    fn items_for_tests_are_found() {
        let code = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(not(test))]\nmod c;\n#[cfg(all(test, unix))]\nmod d { x }\n";
        let ranges = test_ranges(code);
        let items: Vec<&str> = ranges.iter().map(|range| &code[range.clone()]).collect();
        assert_eq!(
            items,
            [
                "#[cfg(test)]\nmod b;",
                "#[cfg(all(test, unix))]\nmod d { x }"
            ]
        );
        assert_eq!(test_modules(code, &ranges), ["b"]);
    }
}
