//! Producer ids: taken one by one from a block that the controller gave to this broker, so that no
//! id is given twice in a cluster (KIP-730).

use std::sync::Arc;

use ottla_metadata::Response;
use ottla_protocol::ErrorCode;
use ottla_protocol::ids::ProducerId;
use parking_lot::Mutex;

use crate::quorum::CommandResult;
use crate::wait::{Promise, WaitList, Waiter, Wakes};

/// The block in use.
#[derive(Default)]
pub(crate) struct ProducerIds {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: i64,
    end: i64,
    /// The controller was asked for a block; its answer comes here.
    asked: Option<Arc<Promise<CommandResult>>>,
    waiting: WaitList,
}

impl ProducerIds {
    /// The next id; `None` while a block is on its way: `waiter` is woken when it came. `ask` hands
    /// the request for a block to the controller.
    ///
    /// # Errors
    /// What the controller answers instead of a block.
    pub(crate) fn next(
        &self,
        waiter: &Arc<Waiter>,
        ask: impl FnOnce() -> Arc<Promise<CommandResult>>,
    ) -> Result<Option<ProducerId>, ErrorCode> {
        let mut wakes = Wakes::default();
        let result = {
            let mut state = self.state.lock();
            if state.next == state.end && state.asked.is_none() {
                state.asked = Some(ask());
            }
            state.look(waiter, &mut wakes)
        };
        wakes.deliver();
        result
    }
}

impl State {
    fn look(
        &mut self,
        waiter: &Arc<Waiter>,
        wakes: &mut Wakes,
    ) -> Result<Option<ProducerId>, ErrorCode> {
        if let Some(asked) = &self.asked
            && let Some(answer) = asked.take(waiter)
        {
            self.asked = None;
            // The others look again: one of them asks for the next block if this one is used up.
            self.waiting.take_into(wakes);
            self.accept(answer)?;
        }
        if self.next < self.end {
            let id = ProducerId(self.next);
            self.next += 1;
            return Ok(Some(id));
        }
        self.waiting.register(waiter);
        Ok(None)
    }

    fn accept(&mut self, answer: CommandResult) -> Result<(), ErrorCode> {
        let Response::AllocateProducerIds(block) = answer? else {
            return Err(ErrorCode::UnknownServerError);
        };
        match ErrorCode::from_code(block.error_code) {
            Some(ErrorCode::None) => {
                self.next = block.producer_id_start;
                self.end = block.producer_id_start + i64::from(block.producer_id_len);
                Ok(())
            }
            error => Err(error.unwrap_or(ErrorCode::UnknownServerError)),
        }
    }
}
