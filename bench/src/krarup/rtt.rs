//! Round trips, one message under way at a time.

use krarup::Process;

use super::Failure;
use super::ask::timed;
use super::message::{Outgoing, Settings, whois};

pub(super) async fn measure(
    mut me: Process,
    settings: Settings,
    node: String,
) -> Result<(), Failure> {
    let peer = whois(&mut me, &node).await?;
    let mut outgoing = Outgoing::new(settings, &me);
    timed(settings, async |sequence| {
        outgoing.ask(&me, &peer, sequence).await?;
        let signal = me.recv().await?;
        settings.check(&signal, sequence)?;
        Ok(())
    })
    .await
}
