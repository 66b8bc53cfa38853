//! When a block may be built, and when it may be voted for: all that waits by the clock, before the state layer is asked.
//!
//! Always true: the state layer is never held up by a wait, so a leader applies final blocks while its own is not due.
//! Never here: whether a block is valid.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::{Application, Handoff};
use commonware_cryptography::Digested;
use commonware_macros::select;
use commonware_runtime::Clock;
use futures::StreamExt as _;
use surety_primitives::header::Header;
use surety_primitives::ids::Height;

use crate::block::{Block, ConsensusContext};
use crate::core::Core;

/// The clock is looked at again so often while a block is ahead of it: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Milliseconds since 1970 by the runtime's clock.
pub(crate) fn now_ms(clock: &impl Clock) -> u64 {
    let elapsed = clock.current().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Asks `inner` when it is time.
#[derive(Clone)]
pub(crate) struct Timed<A> {
    pub(crate) inner: A,
    pub(crate) core: Arc<Core>,
}

impl<A> Timed<A> {
    /// Waits until a block may follow `parent`: the least interval, then a transaction or the idle interval.
    async fn pace<E: Clock>(&self, env: &E, parent: &Header) {
        let pacing = self.core.pacing;
        let idle_until = parent.time_ms.saturating_add(pacing.idle_interval_ms);
        loop {
            let now = now_ms(env);
            let earliest = parent.time_ms.saturating_add(pacing.min_interval_ms);
            if now < earliest {
                env.sleep(Duration::from_millis(earliest - now)).await;
                continue;
            }
            // Asked for before the pool is looked at, so that what comes in between is not missed.
            let arrival = self.core.next_transaction();
            if now >= idle_until || parent.height == Height(0) || !self.core.with_mempool(|pool| pool.is_empty()) {
                return;
            }
            select! {
                () = arrival => {},
                () = env.sleep(Duration::from_millis(idle_until - now)) => {},
            }
        }
    }

    /// Waits until this node's clock has reached the block's time. Never a refusal: clocks differ, and seats that judged one
    /// block differently could neither finalize nor pass over it. Of a block far ahead the view runs out meanwhile.
    async fn due<E: Clock>(env: &E, time_ms: u64) {
        while let ahead @ 1.. = time_ms.saturating_sub(now_ms(env)) {
            env.sleep(Duration::from_millis(ahead).min(LOOK)).await;
        }
    }
}

impl<E, A> Application<E> for Timed<A>
where
    E: Clock,
    A: Application<E, Block = Block, Context = ConsensusContext> + Sync,
{
    type SigningScheme = A::SigningScheme;
    type Context = A::Context;
    type Block = A::Block;
    type Input = A::Input;

    async fn prepare(
        &mut self,
        context: (E, Self::Context),
        ancestry: impl Ancestry<Block>,
        input: Self::Input,
    ) -> Handoff<Digested<Block>> {
        self.inner.prepare(context, ancestry, input).await
    }

    async fn propose(
        &mut self,
        context: (E, Self::Context),
        ancestry: impl Ancestry<Block>,
        input: Self::Input,
    ) -> Option<Digested<Block>> {
        let parent = ancestry.clone().next().await?;
        self.pace(&context.0, parent.inner().header()).await;
        self.inner.propose(context, ancestry, input).await
    }

    async fn verify(&mut self, context: (E, Self::Context), ancestry: impl Ancestry<Block>) -> bool {
        let Some(block) = ancestry.clone().next().await else { return false };
        Self::due(&context.0, block.inner().header().time_ms).await;
        self.inner.verify(context, ancestry).await
    }
}

#[cfg(test)]
mod tests {
    use commonware_runtime::{Runner as _, deterministic};

    use super::*;

    #[test]
    fn a_block_ahead_of_the_clock_is_waited_for_however_far_and_never_refused() {
        deterministic::Runner::seeded(1).start(|context| async move {
            for ahead in [0, 1, 1_999, 2_001, 3_600_000] {
                let time_ms = now_ms(&context) + ahead;
                Timed::<()>::due(&context, time_ms).await;
                assert_eq!(now_ms(&context), time_ms);
            }
            let before = now_ms(&context);
            Timed::<()>::due(&context, 1).await;
            assert_eq!(now_ms(&context), before, "a block of the past waits for nothing");
        });
    }
}
