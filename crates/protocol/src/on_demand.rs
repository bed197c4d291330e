//! Values that few of many owners need.

/// A value on the heap, made when it is first needed: the owner of one that is not needed pays for a pointer.
#[derive(Debug)]
pub struct OnDemand<T>(Option<Box<T>>);

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Default> OnDemand<T> {
    /// The value, if it was ever needed.
    #[must_use]
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The value, to be changed, if it was ever needed.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// The value, made if there is none.
    #[inline]
    pub fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// The value, made by `with` if there is none.
    #[inline]
    pub fn make_with(&mut self, with: impl FnOnce() -> T) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(with()))
    }

    /// Lets the value go.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once() {
        let mut list: OnDemand<Vec<u8>> = OnDemand::default();
        assert_eq!(list.get(), None);
        assert_eq!(list.get_mut(), None);
        list.make().push(1);
        list.make().push(2);
        assert_eq!(list.get(), Some(&vec![1, 2]));
        list.clear();
        assert_eq!(list.get(), None);
        assert_eq!(size_of_val(&list), size_of::<usize>());
    }
}
