//! The hub as a process: its log, its signals, what it tells the service manager.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Level, LogFormat};
use crate::daemon::Daemon;
use crate::error::{Error, Result};
use crate::service_manager::{self, Given};

/// Runs the hub until it is asked to stop (SIGTERM, SIGINT). Returns when everything is done.
///
/// # Errors
///
/// It cannot begin: what is missing or wrong.
pub fn run(config: Config) -> Result<()> {
    let _room = std::hint::black_box(room());
    begin_log(&config);
    let given = Given::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::with("cannot begin", e))?;
    let done = runtime.block_on(async {
        let daemon = Daemon::begin(config, given)?;
        tracing::info!("the hub of node {} serves at {:?}", daemon.node(), daemon.api);
        service_manager::tell("READY=1");
        asked_to_stop().await?;
        service_manager::tell("STOPPING=1");
        daemon.stop().await;
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

/// Buffers that are held and never used, so that others of their size cost little.
///
/// As long as few allocations of 2 to 8 KB live, musl gives each of them pages of its own and hands these back as soon as
/// it is freed. A request through the hub needs several such buffers one after the other; without these held ones it maps,
/// faults in and unmaps pages each time, a tenth of the time that the hub adds to it; a write that is staged does so thirty
/// times, a tenth of its time. From the ninth of a size on musl makes groups of two: of two of these one place is held, which
/// keeps the group, and the other is free. So many are free as a staged write of a pod needs at once.
fn room() -> Vec<Vec<u8>> {
    let of_size = |(size, free)| {
        let all: Vec<Vec<u8>> = (0..8 + 2 * free).map(|_| Vec::with_capacity(size)).collect();
        all.into_iter().skip(8).step_by(2)
    };
    [(2000, 4), (4000, 8), (8000, 10)].into_iter().flat_map(of_size).collect()
}

fn begin_log(config: &Config) {
    let level = match config.log {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    let log = log.with_writer(std::io::stderr);
    // Whoever runs the hub inside a program of theirs has a log of their own already.
    let _ = match config.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().finish()),
    };
}

async fn asked_to_stop() -> Result<()> {
    let on = |kind| signal(kind).map_err(|e| Error::with("signals", e));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
