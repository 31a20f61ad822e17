//! Stop and restart. The real program ends its process about two seconds later; this one has no
//! process of its own, so it does what of it can be seen: a restart reads the configuration
//! file and begins to count anew, a stop is only noted. Clients stay connected.

use mqttstack_pipeline::Walk;

use super::super::Nanomq;

/// What NanoMQ can be told to do with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// End.
    Stop,
    /// End and start again.
    Restart,
}

impl Action {
    /// The action from its name, in any case.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"stop") {
            Some(Self::Stop)
        } else if name.eq_ignore_ascii_case(b"restart") {
            Some(Self::Restart)
        } else {
            None
        }
    }
}

/// Does it, as far as it can be done here.
pub(crate) fn perform(nanomq: &Nanomq, action: Action, walk: &mut Walk<'_>) {
    match action {
        Action::Stop => walk
            .draft
            .note("ours: the real program would end in about 2 s; this one goes on answering"),
        Action::Restart => {
            let counters = walk.app.broker.counters();
            nanomq.state.restart(walk.receipt.now, counters);
            walk.draft.note(
                "ours: the configuration file is read and counting begins anew at once; \
                 MQTT clients stay connected",
            );
        }
    }
}
