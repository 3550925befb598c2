//! Everything that is a stream or an upgraded connection: logs, exec, attach, port-forward.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use anyhow::{Result, bail};

use super::objects::PAGE;
use super::{Day, STEP};
use crate::netns;
use crate::pods::PORT;
use crate::probe::{self, Question};
use crate::sys;
use crate::verdict::none_of;

/// The node's port that port-forward listens on.
const FORWARDED: u16 = 18080;
/// How many connections are forwarded at once.
const CONNECTIONS: usize = 16;

pub(super) async fn play(day: &mut Day<'_, '_>) -> Result<()> {
    logs(day).await?;
    exec(day)?;
    attach(day)?;
    port_forward(day).await
}

async fn logs(day: &mut Day<'_, '_>) -> Result<()> {
    day.note_output(&["logs", "job/once"])?;
    day.note_output(&["logs", "counter"])?;
    day.note_output(&["logs", "counter", "--tail=2", "--timestamps"])?;
    let said = day.kubectl(&["logs", "in-cluster"])?;
    let answered = said.lines().filter(|line| line.contains(r#""type":"object""#)).count();
    day.diary.note("objects that a pod was given", answered.into());
    // It falls again and again, and of the falls only the last is kept.
    let previous = sys::until("the log of a container that has fallen", STEP, || {
        let said = day.kubectl(&["logs", "crash", "--previous"])?;
        if said == "falling" { Ok(said) } else { bail!("{said}") }
    });
    let previous = previous.await?;
    day.diary.note_text("logs --previous", &previous);
    day.note_end(&["logs", "no-such-pod"])
}

fn exec(day: &mut Day<'_, '_>) -> Result<()> {
    day.note_output(&["exec", "web", "--", "busybox", "cat", "/page/nonce"])?;
    day.note_output(&["exec", "web", "--", "busybox", "sh", "-c", "echo $WORD $(busybox hostname)"])?;
    day.note_end(&["exec", "web", "--", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    day.note_end(&["exec", "web", "--", "/no/such/program"])?;
    // More than any buffer on the way holds, both ways.
    let much = "0123456789abcde\n".repeat(1 << 17);
    let back = day.feed(&["exec", "--stdin", "web", "--", "busybox", "cat"], &much)?;
    day.diary.note("two MiB through exec and back", (back == much.trim()).into());
    Ok(())
}

/// What is typed into a container is echoed, and is in its log, which another client follows until it ends.
fn attach(day: &mut Day<'_, '_>) -> Result<()> {
    let follower = day.command(&["logs", "--follow", "echo"])?.stdout(Stdio::piped()).spawn()?;
    let back = day.feed(&["attach", "--stdin", "echo"], "first\nsecond\n")?;
    let followed = follower.wait_with_output()?;
    day.diary.note_text("attach and type", &back);
    day.diary.note_text("follow what is typed", &String::from_utf8_lossy(&followed.stdout));
    Ok(())
}

async fn port_forward(day: &mut Day<'_, '_>) -> Result<()> {
    let ports = format!("{FORWARDED}:{PORT}");
    let mut forwarder = day.command(&["port-forward", "pod/web", &ports])?.stdout(Stdio::null()).spawn()?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, FORWARDED));
    let questions = vec![Question { at, expected: PAGE.to_owned() }; CONNECTIONS];
    let failures = probe::ask(&netns::path(day.cluster.stage.node.name()), questions).await;
    forwarder.kill()?;
    forwarder.wait()?;
    let answers = none_of(&failures?, format!("{CONNECTIONS} answers"))?;
    day.diary.note_text("port-forward", &answers);
    Ok(())
}
