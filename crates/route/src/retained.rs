//! Topic Names in an order in which a subtree is contiguous, so that a Topic Filter is answered by leaping from match
//! to match and an answer can be taken up again after any topic.
//!
//! The order is that of the UTF-8 bytes with `/` before all others, which is the order of the lists of levels.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::btree_map::{self, BTreeMap};
use std::ops::Bound;
use std::sync::Arc;

/// Topic Names, each with a value; for retained messages.
pub struct RetainedIndex<V> {
    topics: BTreeMap<Topic, V>,
}

impl<V> RetainedIndex<V> {
    /// An empty index.
    pub fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
        }
    }

    /// Sets the value of a Topic Name; returns the earlier one. The name is shared, not copied.
    pub fn insert(&mut self, topic: Arc<str>, value: V) -> Option<V> {
        // A value that is replaced needs no new key.
        if let Some(held) = self
            .topics
            .get_mut(&Probe(topic.as_bytes()) as &dyn TopicBytes)
        {
            return Some(std::mem::replace(held, value));
        }
        self.topics.insert(Topic(topic), value)
    }

    /// Removes a Topic Name; returns its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.topics
            .remove(&Probe(topic.as_bytes()) as &dyn TopicBytes)
    }

    /// The value of a Topic Name.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(&Probe(topic.as_bytes()) as &dyn TopicBytes)
    }

    /// How many Topic Names there are.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The Topic Names that match a valid Topic Filter, in the order of the index; only those after `after`, which
    /// need not be in the index (any more). Taking up again after the last topic seen skips and repeats nothing, what
    /// has changed in between aside.
    pub fn matching<'i, 'f>(&'i self, filter: &'f str, after: Option<&str>) -> Matching<'i, 'f, V> {
        let levels: Vec<&str> = filter.split('/').collect();
        let mut target = Vec::new();
        push_least(&levels, false, &mut target);
        let range = match after {
            Some(after) if order(after.as_bytes(), &target).is_ge() => {
                range_from(&self.topics, Bound::Excluded(after.as_bytes()))
            }
            _ => range_from(&self.topics, Bound::Included(&target)),
        };
        Matching {
            topics: &self.topics,
            range,
            levels,
            target,
        }
    }

    /// All Topic Names, in the order of the index.
    pub fn iter(&self) -> RetainedIter<'_, V> {
        RetainedIter(self.topics.iter())
    }
}

impl<V> Default for RetainedIndex<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'i, V> IntoIterator for &'i RetainedIndex<V> {
    type Item = (&'i str, &'i V);
    type IntoIter = RetainedIter<'i, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// See [`RetainedIndex::iter`].
pub struct RetainedIter<'i, V>(btree_map::Iter<'i, Topic, V>);

impl<'i, V> Iterator for RetainedIter<'i, V> {
    type Item = (&'i str, &'i V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(topic, value)| (&*topic.0, value))
    }
}

/// See [`RetainedIndex::matching`]. Each step looks at the next topic; where it does not match, the least topic that
/// still could is worked out from it, and the search goes on there.
pub struct Matching<'i, 'f, V> {
    topics: &'i BTreeMap<Topic, V>,
    range: btree_map::Range<'i, Topic, V>,
    /// The levels of the Topic Filter.
    levels: Vec<&'f str>,
    /// Where to go on after a mismatch.
    target: Vec<u8>,
}

impl<'i, V> Iterator for Matching<'i, '_, V> {
    type Item = (&'i str, &'i V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (topic, value) = self.range.next()?;
            match judge(&self.levels, &topic.0, &mut self.target) {
                Verdict::Match => return Some((&*topic.0, value)),
                Verdict::Seek => {
                    self.range = range_from(self.topics, Bound::Included(&self.target))
                }
                Verdict::End => return None,
            }
        }
    }
}

enum Verdict {
    Match,
    /// No match before the target, which lies after the topic judged.
    Seek,
    /// No match any more.
    End,
}

fn judge(levels: &[&str], topic: &str, target: &mut Vec<u8>) -> Verdict {
    // v5[MQTT-4.7.2-1]: wildcards in the first level do not match Topic Names that begin with `$`.
    if topic.starts_with('$') && matches!(levels.first(), Some(&("+" | "#"))) {
        target.clear();
        target.push(b'$' + 1);
        return Verdict::Seek;
    }
    // Where the name under the last `+` ends: the place to go on from when what follows it has no match any more.
    let mut last_plus = None;
    let mut start = 0;
    for (depth, &level) in levels.iter().enumerate() {
        if level == "#" {
            return Verdict::Match;
        }
        let ahead = levels.get(depth..).unwrap_or_default();
        let Some(rest) = topic.get(start..) else {
            // The topic has ended: those below it come next.
            return seek(topic, ahead, true, target);
        };
        let rest = rest.as_bytes();
        let len = rest.iter().position(|byte| *byte == b'/');
        let name = rest.get(..len.unwrap_or(rest.len())).unwrap_or(rest);
        let end = start + name.len();
        if level == "+" {
            last_plus = Some(end);
        } else {
            match name.cmp(level.as_bytes()) {
                Ordering::Equal => {}
                Ordering::Less => {
                    return seek(topic.get(..start).unwrap_or(topic), ahead, false, target);
                }
                Ordering::Greater => return leave(topic, last_plus, target),
            }
        }
        start = end + 1;
    }
    if start > topic.len() {
        Verdict::Match
    } else {
        leave(topic, last_plus, target)
    }
}

/// Onwards to the least topic that begins with `prefix` and goes on in the way of `levels`.
fn seek(prefix: &str, levels: &[&str], below: bool, target: &mut Vec<u8>) -> Verdict {
    target.clear();
    target.extend_from_slice(prefix.as_bytes());
    push_least(levels, below, target);
    Verdict::Seek
}

/// Onwards past everything that has the same name under the last `+`.
fn leave(topic: &str, last_plus: Option<usize>, target: &mut Vec<u8>) -> Verdict {
    let Some(name) = last_plus.and_then(|end| topic.get(..end)) else {
        return Verdict::End;
    };
    target.clear();
    target.extend_from_slice(name.as_bytes());
    // In no topic, after every topic below this one and before every longer name: only `/` comes before it.
    target.push(0);
    Verdict::Seek
}

/// Appends the least text that the levels match: `+` stands for an empty level, `#` for none.
fn push_least(levels: &[&str], below: bool, target: &mut Vec<u8>) {
    let mut separate = below;
    for &level in levels.iter().take_while(|&&level| level != "#") {
        if separate {
            target.push(b'/');
        }
        if level != "+" {
            target.extend_from_slice(level.as_bytes());
        }
        separate = true;
    }
}

/// A key of the index.
#[derive(Eq, PartialEq)]
struct Topic(Arc<str>);

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bytes to look up that are not a key: they have the order of keys without being copied into one.
struct Probe<'b>(&'b [u8]);

/// What keys and probes have in common; the map is searched through this.
trait TopicBytes {
    fn bytes(&self) -> &[u8];
}

impl TopicBytes for Topic {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TopicBytes for Probe<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}

impl<'b> Borrow<dyn TopicBytes + 'b> for Topic {
    fn borrow(&self) -> &(dyn TopicBytes + 'b) {
        self
    }
}

impl PartialEq for dyn TopicBytes + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn TopicBytes + '_ {}

impl Ord for dyn TopicBytes + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.bytes(), other.bytes())
    }
}

impl PartialOrd for dyn TopicBytes + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn range_from<'i, V>(
    topics: &'i BTreeMap<Topic, V>,
    from: Bound<&[u8]>,
) -> btree_map::Range<'i, Topic, V> {
    let from = from.map(Probe);
    let from = from.as_ref().map(|probe| probe as &dyn TopicBytes);
    topics.range::<dyn TopicBytes + '_, _>((from, Bound::Unbounded))
}

/// The order of the index.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    match a.iter().zip(b).find(|(one, other)| one != other) {
        Some((one, other)) => rank(*one).cmp(&rank(*other)),
        None => a.len().cmp(&b.len()),
    }
}

fn rank(byte: u8) -> u16 {
    if byte == b'/' { 0 } else { u16::from(byte) + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(topics: &[&str]) -> RetainedIndex<usize> {
        let mut index = RetainedIndex::new();
        for (at, topic) in topics.iter().enumerate() {
            index.insert((*topic).into(), at);
        }
        index
    }

    fn matching<'i>(index: &'i RetainedIndex<usize>, filter: &str) -> Vec<&'i str> {
        index
            .matching(filter, None)
            .map(|(topic, _)| topic)
            .collect()
    }

    #[test]
    fn a_subtree_is_contiguous() {
        let index = index(&["b", "a-b", "a/b", "a", "a/", "a/b/c", "/", "a!", "a//c"]);
        let order: Vec<&str> = index.iter().map(|(topic, _)| topic).collect();
        assert_eq!(
            order,
            ["/", "a", "a/", "a//c", "a/b", "a/b/c", "a!", "a-b", "b"]
        );
    }

    #[test]
    fn replaces_and_removes() {
        let mut index = index(&["a", "b"]);
        assert_eq!(index.insert("a".into(), 7), Some(0));
        assert_eq!(index.get("a"), Some(&7));
        assert_eq!(index.remove("a"), Some(7));
        assert_eq!(index.remove("a"), None);
        assert_eq!(index.get("a"), None);
        assert_eq!((index.len(), index.is_empty()), (1, false));
    }

    #[test]
    fn finds_what_matches() {
        let topics = [
            "$s/x", "$s", "a", "a/", "a/x", "a/x/y", "a-b/x", "b/x", "b/y/x", "x", "/x",
        ];
        let index = index(&topics);
        let cases: [(&str, &[&str]); 10] = [
            ("a/x", &["a/x"]),
            ("+/x", &["/x", "a/x", "a-b/x", "b/x"]),
            ("a/#", &["a", "a/", "a/x", "a/x/y"]),
            ("+/+/x", &["b/y/x"]),
            (
                "+/+/#",
                &["/x", "a/", "a/x", "a/x/y", "a-b/x", "b/x", "b/y/x"],
            ),
            ("+", &["a", "x"]),
            ("$s/#", &["$s", "$s/x"]),
            ("$s/+", &["$s/x"]),
            ("c/#", &[]),
            ("a/+/z", &[]),
        ];
        for (filter, expected) in cases {
            assert_eq!(matching(&index, filter), expected, "{filter}");
        }
        assert_eq!(matching(&index, "#").len(), topics.len() - 2);
    }

    #[test]
    fn resumes_after_a_topic_that_is_gone() {
        let mut index = index(&["a/1", "a/2", "a/3", "b/1"]);
        let next = |index: &RetainedIndex<usize>, after: &str| {
            let mut matching = index.matching("a/+", Some(after));
            matching.next().map(|(topic, _)| topic.to_owned())
        };
        assert_eq!(next(&index, "a/1").as_deref(), Some("a/2"));
        index.remove("a/2");
        assert_eq!(next(&index, "a/2").as_deref(), Some("a/3"));
        assert_eq!(next(&index, "a/3"), None);
        assert_eq!(next(&index, "A"), Some("a/1".to_owned()));
        assert_eq!(next(&index, "c"), None);
    }

    #[test]
    fn leaps_over_what_cannot_match() {
        let mut index = RetainedIndex::new();
        for site in 0..20 {
            for device in 0..500 {
                index.insert(format!("site/{site}/{device:03}").into(), ());
            }
        }
        let levels = ["site", "+", "250"];
        // Counts the topics that are looked at.
        let mut looks = 0;
        let mut matches = 0;
        let mut target = b"site".to_vec();
        while let Some((topic, ())) = range_from(&index.topics, Bound::Included(&target)).next() {
            looks += 1;
            match judge(&levels, &topic.0, &mut target) {
                Verdict::Match => {
                    matches += 1;
                    target = [topic.0.as_bytes(), &[0]].concat();
                }
                Verdict::Seek => {}
                Verdict::End => break,
            }
        }
        assert_eq!(matches, 20);
        assert!(looks <= 60, "{looks} looks");
    }
}
