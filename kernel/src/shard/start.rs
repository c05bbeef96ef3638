//! Starting the shards of a node.

use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use krarup_transport::shard::{
    Driver, DriverConfig, Executors as ShardExecutors, ExecutorsConfig, MeshConfig, Seat, ShardId,
    StartError as ShardStartError, mesh,
};

use krarup_tuning::option::SocketOption;

use super::host::{ShardHost, ShardIo};
use super::{CURRENT, KernelShard, Shard, ShardMessage};
use crate::node::{Node, NodeConfig, StartError};
use crate::services;

/// The shard that the kernel runs on. It is not on the data path, so it shares a shard's executor
/// in a node of any size.
const KERNEL_SHARD: usize = 0;

/// The running shards of a node.
#[derive(Debug)]
pub(crate) struct Executors(ShardExecutors<()>);

impl Executors {
    /// Ends every shard and joins its thread.
    pub(crate) fn stop(self, node: &Node) {
        for shard in 0..node.shards() {
            node.run_on(shard, |shard| shard.io().handle().stop());
        }
        for ended in self.0.join() {
            if let Err(panicked) = ended {
                tracing::error!(%panicked, "a shard ended badly");
            }
        }
    }
}

/// How long to spin, if the configuration says so: among the socket options, or by itself.
fn spin(config: &NodeConfig) -> Option<Duration> {
    let lists = [&config.socket_options, &config.listen_options, &config.connect_options];
    let stated = lists.into_iter().flatten().rev().find_map(|option| match option {
        SocketOption::SpinUs(microseconds) => Some(Duration::from_micros((*microseconds).into())),
        _ => None,
    });
    stated.or(config.spin)
}

/// Starts the shards; the node is not alive yet.
pub(crate) fn start(config: NodeConfig) -> Result<Node, StartError> {
    let count = config.shards;
    if !(1..=ShardId::COUNT_MAX).contains(&count) {
        return Err(ShardStartError::ShardCount(count).into());
    }
    let executors = ExecutorsConfig { shards: count, ..ExecutorsConfig::default() };
    let mut driver = DriverConfig::for_shards(count);
    if let Some(spin) = spin(&config) {
        driver.spin = spin;
        driver.spin_after_send = spin;
    }
    let mesh = mesh::<ShardMessage>(count, &MeshConfig::default());
    let services = config.services;
    let node = Node::new(config, mesh.remotes, KERNEL_SHARD);
    let handle = node.clone();
    let run = move |id: ShardId, seat: Seat<ShardMessage>| {
        run_shard(id.index(), seat, handle.clone(), driver.clone())
    };
    node.keep(Executors(ShardExecutors::start(&executors, mesh.seats, run)?));
    let (done, started) = oneshot::channel();
    let ready = node.clone();
    node.run_on(KERNEL_SHARD, move |_| {
        glommio::spawn_local(async move {
            let mut outcome = services::start_always(&ready).await;
            if services && outcome.is_ok() {
                outcome = services::start_stock(&ready).await;
            }
            let _ = done.send(outcome);
        })
        .detach();
    });
    match crate::node::block_on(started) {
        Ok(Ok(())) => Ok(node),
        Ok(Err(error)) => Err(StartError::Executor(error.to_string())),
        Err(_) => Err(StartError::Executor("a shard ended at its start".to_owned())),
    }
}

async fn run_shard(id: usize, seat: Seat<ShardMessage>, node: Node, config: DriverConfig) {
    let count = node.shards();
    let shard = Rc::new(Shard::new(id, count, KERNEL_SHARD, node.clone()));
    if id == KERNEL_SHARD {
        let kernel = Rc::new(KernelShard::new(node.config().clone(), count));
        kernel.attach(&shard);
        shard.set_kernel(kernel);
    }
    let host = Rc::new(ShardHost(Rc::clone(&shard)));
    match Driver::new(seat, host, config) {
        Ok(driver) => {
            shard.set_io(ShardIo::new(driver.handle()));
            CURRENT.set(Some(shard));
            driver.run().await;
            CURRENT.set(None);
        }
        Err(error) => tracing::error!(shard = id, %error, "a shard could not start"),
    }
}
