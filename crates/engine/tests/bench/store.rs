//! A store that answers when the test says so.

use std::collections::{BTreeMap, VecDeque};

use dunlin_engine::record::{Batch, Store, StoreError};

/// Keeps nothing but the order of things: what was submitted, and what was answered.
#[derive(Default)]
pub(super) struct LateStore {
    /// Whether it answers by itself, and at once.
    pub(super) prompt: bool,
    pub(crate) waiting: Vec<u64>,
    pub(crate) answers: VecDeque<(u64, Result<(), StoreError>)>,
    pub(crate) answered: BTreeMap<u64, Result<(), StoreError>>,
}

impl Store for LateStore {
    fn submit(&mut self, batch: Batch) {
        self.waiting.push(batch.id);
        if self.prompt {
            self.answer(self.waiting.len() - 1, Ok(()));
        }
    }

    fn poll(&mut self) -> Option<(u64, Result<(), StoreError>)> {
        self.answers.pop_front()
    }
}

impl LateStore {
    /// How many batches have no answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Answers one of those that wait, counted from the oldest.
    pub(super) fn answer(&mut self, at: usize, result: Result<(), StoreError>) {
        let id = self.waiting.remove(at);
        self.answers.push_back((id, result));
        self.answered.insert(id, result);
    }

    /// What a batch was answered.
    pub(super) fn answer_to(&self, id: u64) -> Option<Result<(), StoreError>> {
        self.answered.get(&id).copied()
    }
}
