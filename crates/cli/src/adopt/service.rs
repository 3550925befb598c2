//! kubelet as systemd runs it: told of a changed unit, started anew. And whether the hub answers.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use node::kubelet::flags::Flags;
use node::kubelet::machine::UNIT;
use node::kubelet::unit::Word;

/// How long the hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of the wish to start kubelet anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// It runs as it should, or does not run.
    NotNeeded,
    /// It has to be done, and was not asked for.
    Needed,
    /// It was done.
    Done,
    /// It was not done.
    Failed(String),
}

/// Brings the running kubelet in line with its unit. `belongs` says whether a kubelet with this kubeconfig runs as it
/// should, `ready` whether it may be started anew.
pub fn settle(
    asked: bool,
    belongs: impl Fn(&str) -> bool,
    ready: impl FnOnce() -> Result<(), String>,
) -> Restart {
    // Where systemd does not run, as in an image that is being made, there is nothing to tell it.
    if !Path::new("/run/systemd/system").is_dir() {
        return Restart::NotNeeded;
    }
    let told = systemctl(&["daemon-reload"]);
    let running = told.and_then(|_| kubeconfig_of_running());
    match running {
        Ok(None) => Restart::NotNeeded,
        Ok(Some(kubeconfig)) if belongs(&kubeconfig) => Restart::NotNeeded,
        Ok(Some(_)) if !asked => Restart::Needed,
        Ok(Some(_)) => match ready().and_then(|()| systemctl(&["try-restart", UNIT])) {
            Ok(_) => Restart::Done,
            Err(why) => Restart::Failed(why),
        },
        Err(why) => Restart::Failed(why),
    }
}

/// The kubeconfig with which kubelet runs; `None` if it does not run.
fn kubeconfig_of_running() -> Result<Option<String>, String> {
    let pid = systemctl(&["show", "--property=MainPID", "--value", UNIT])?;
    match pid.trim() {
        "" | "0" => Ok(None),
        pid => {
            // One that ended meanwhile does not run.
            let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return Ok(None) };
            Ok(Some(kubeconfig(&line)))
        }
    }
}

/// The kubeconfig on a command line as the kernel shows it.
fn kubeconfig(line: &[u8]) -> String {
    let word = |text: &[u8]| Word { text: String::from_utf8_lossy(text).into_owned(), from: "/proc".into() };
    let flags = Flags::new(line.split(|byte| *byte == 0).map(word).collect());
    flags.value("kubeconfig").map(|flag| flag.value).unwrap_or_default()
}

fn systemctl(words: &[&str]) -> Result<String, String> {
    let what = || format!("`systemctl {}`", words.join(" "));
    let output =
        Command::new("systemctl").args(words).output().map_err(|e| format!("cannot run {}: {e}", what()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{} failed: {}", what(), String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Whether the hub answers at its address for health.
pub fn hub_answers(health: SocketAddr) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&health, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!("GET /livez HTTP/1.1\r\nHost: {health}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(256)).read_line(&mut line)?;
        Ok(line)
    };
    let said = match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => return Ok(()),
        Ok(answer) => format!("it says {:?}", answer.trim_end()),
        // Its socket is open, and nobody takes what comes.
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => "it says nothing".into(),
        Err(e) => e.to_string(),
    };
    Err(format!(
        "the hub does not answer at http://{health}/livez ({said}), so kubelet was left as it runs; start the hub with \
         `systemctl enable --now edgekeep-hub.service`, then run this again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one request with this.
    fn hub(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /livez "));
            stream.write_all(answer.as_bytes()).unwrap();
        };
        (at, std::thread::spawn(serve))
    }

    #[test]
    fn only_a_hub_that_says_it_is_alive_answers() {
        for (answer, good) in
            [("HTTP/1.1 200 OK\r\n\r\nok", true), ("HTTP/1.1 500 No\r\n\r\n", false), ("", false)]
        {
            let (at, served) = hub(answer);
            assert_eq!(hub_answers(at).is_ok(), good, "{answer:?}");
            served.join().unwrap();
        }
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(hub_answers(gone).unwrap_err().contains("systemctl enable --now edgekeep-hub.service"));
    }

    #[test]
    fn the_kubeconfig_of_a_running_kubelet_is_the_last_on_its_command_line() {
        let line = b"/usr/bin/kubelet\0--kubeconfig=/a\0--config=/c\0--kubeconfig\0/b\0";
        assert_eq!(kubeconfig(line), "/b");
        assert_eq!(kubeconfig(b"/usr/bin/kubelet\0"), "");
    }
}
