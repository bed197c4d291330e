//! The text of one level of a Topic Filter, as a trie node keeps it: short texts in place, long ones on the heap.

/// Texts up to this many bytes need no allocation.
const INLINE_BYTES_MAX: usize = 22;

/// The text of one level.
pub(crate) enum Label {
    /// The first `len` bytes.
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Heap(Box<[u8]>),
}

impl Label {
    /// The label of nodes that are not found by their text.
    pub(crate) const EMPTY: Self = Self::Inline {
        len: 0,
        bytes: [0; INLINE_BYTES_MAX],
    };

    pub(crate) fn new(level: &str) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match bytes.get_mut(..level.len()) {
            Some(room) => {
                room.copy_from_slice(level.as_bytes());
                Self::Inline {
                    len: level.len() as u8,
                    bytes,
                }
            }
            None => Self::Heap(level.as_bytes().into()),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Heap(bytes) => bytes,
        }
    }

    /// Bytes held outside the node.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_texts_of_any_length() {
        for len in [0, 1, 21, 22, 23, 300] {
            let text = "é".repeat(len / 2) + if len % 2 == 1 { "x" } else { "" };
            let label = Label::new(&text);
            assert_eq!(label.as_bytes(), text.as_bytes());
            assert_eq!(
                label.heap_bytes() > 0,
                len > INLINE_BYTES_MAX,
                "{len} bytes"
            );
        }
        assert_eq!(Label::EMPTY.as_bytes(), b"");
    }
}
