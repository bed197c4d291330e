//! Topics in the plainest way: lists of levels, and the rules of section 4.7 word by word.

/// What stands between the separators.
pub fn levels(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// Whether a Topic Filter matches a Topic Name.
pub fn matches(filter: &str, topic: &str) -> bool {
    let hidden = topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+'));
    !hidden && match_levels(&levels(filter), &levels(topic))
}

fn match_levels(filter: &[&str], topic: &[&str]) -> bool {
    match (filter.split_first(), topic.split_first()) {
        // Also with no level left: the parent is included.
        (Some((&"#", _)), _) => true,
        (Some((&"+", filter)), Some((_, topic))) => match_levels(filter, topic),
        (Some((wanted, filter)), Some((given, topic))) => {
            wanted == given && match_levels(filter, topic)
        }
        (None, None) => true,
        _ => false,
    }
}

/// Whether a text may be a Topic Name.
pub fn is_name(text: &str) -> bool {
    is_topic(text) && !text.contains('+') && !text.contains('#')
}

/// Whether a text may be a Topic Filter.
pub fn is_filter(text: &str) -> bool {
    let levels = levels(text);
    let last = levels.len() - 1;
    let is_level = |(at, level): (usize, &&str)| {
        (!level.contains('+') || *level == "+")
            && (!level.contains('#') || (*level == "#" && at == last))
    };
    is_topic(text) && levels.iter().enumerate().all(is_level)
}

/// The ShareName and the Topic Filter of `$share/NAME/FILTER`: `None` for a text that does not begin
/// so, `Some(None)` for one that is not valid.
pub fn share(text: &str) -> Option<Option<(&str, &str)>> {
    let rest = text.strip_prefix("$share/")?;
    let parts = rest.split_once('/').filter(|(name, filter)| {
        is_topic(text) && is_name(name) && !name.is_empty() && is_filter(filter)
    });
    Some(parts)
}

fn is_topic(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}
