//! "Did you mean": the known name that is nearest to an unknown one by edit distance, where a swap
//! of two neighbours counts as one edit.

use crate::keys;
use crate::values::shown;

/// Longer names are not compared: the cost grows with the square of the length.
const LENGTH_MAX: usize = 64;

/// The message for a key that nobody knows.
pub(crate) fn unknown_key(name: &str) -> String {
    match nearest(name, keys::names()) {
        Some(known) => format!("unknown key '{}'; did you mean '{known}'?", shown(name)),
        None => format!("unknown key '{}'", shown(name)),
    }
}

/// The nearest of `known`, if it is near enough to be meant: a third of the letters may differ.
pub(crate) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let near_enough = (name.len() / 3).clamp(1, 4);
    known
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (row, char_a) in a.chars().enumerate() {
        let mut current = Vec::with_capacity(b.len() + 1);
        let mut left = row + 1;
        current.push(left);
        let mut previous_b = None;
        for (column, char_b) in b.iter().copied().enumerate() {
            let above = last.get(column + 1).copied().unwrap_or(usize::MAX);
            let diagonal = last.get(column).copied().unwrap_or(usize::MAX);
            let replaced = diagonal.saturating_add(usize::from(char_a != char_b));
            let mut best = replaced.min(above.saturating_add(1)).min(left + 1);
            if previous_a == Some(char_b) && previous_b == Some(char_a) {
                let swapped = column
                    .checked_sub(1)
                    .and_then(|at| before_last.get(at))
                    .copied();
                best = best.min(swapped.unwrap_or(usize::MAX).saturating_add(1));
            }
            current.push(best);
            left = best;
            previous_b = Some(char_b);
        }
        previous_a = Some(char_a);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        let cases = [
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "acb", 1),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ];
        for (a, b, expected) in cases {
            assert_eq!(distance(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn only_near_names_are_offered() {
        let offered = |name| nearest(name, keys::names());
        assert_eq!(
            offered("max_inflght_messages"),
            Some("max_inflight_messages")
        );
        assert_eq!(offered("Allow-Anonymous"), Some("allow_anonymous"));
        assert_eq!(offered("listner"), Some("listener"));
        assert_eq!(offered("cheese"), None);
        assert_eq!(offered(&"x".repeat(10_000)), None);
    }
}
