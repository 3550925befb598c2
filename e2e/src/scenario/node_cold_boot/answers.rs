//! What pods say of themselves: each answers over TCP, to a nonce of the moment, with what its main process read at its
//! start and with what its mounts hold now.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::pods::PORT;
use crate::verdict::none_of;
use crate::{netns, sys};

/// How long one attempt may take at each of its steps.
const ATTEMPT: Duration = Duration::from_secs(2);
const ASKERS: usize = 8;

/// The main process of every pod. It reads the moment that the node was told before kubelet was started, and keeps it;
/// what an `emptyDir` holds is older than the process if the pod is.
pub const MAIN: &str = r#"export MOMENT=$(cat /moment/moment)
[ -e /scratch/first ] || echo $MOMENT >/scratch/first
exec busybox nc -ll -p 8080 -e busybox sh -c "$ANSWER""#;

/// Answers one connection: a line for each thing, a name and a value. A name that is a path stands for a file.
pub const ANSWER: &str = r#"read -r nonce || exit
echo nonce $nonce
echo pod $POD
echo uid $POD_UID
echo moment $MOMENT
echo first $(cat /scratch/first)
echo env $(env | grep -v -e ^MOMENT= -e ^ANSWER= | grep -e _SERVICE_ -e _PORT -e ^POD -e ^WORD | sort | sha256sum)
for token in /var/run/secrets/kubernetes.io/serviceaccount/token /vault/token; do
  [ -e $token ] && echo token:$token $(cat $token)
done
for file in /config/* /secret/* /about/* /both/* /maybe/* /var/run/secrets/kubernetes.io/serviceaccount/*; do
  case $file in *token) ;; *) [ -f "$file" ] && echo "$file" $(sha256sum <"$file");; esac
done
set -- $(cat /proc/1/stat)
echo started ${22}"#;

/// What one pod said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer(BTreeMap<String, String>);

impl Answer {
    /// The value of `name`; empty if it said none.
    pub fn of(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// When its main process started, in the kernel's ticks.
    pub fn started(&self) -> u64 {
        self.of("started").parse().unwrap_or_default()
    }

    /// The tokens, by the path of their file.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix("token:")?, value.as_str())))
    }

    /// How many files its mounts hold, tokens left out.
    pub fn files(&self) -> usize {
        self.0.keys().filter(|name| name.starts_with('/')).count()
    }

    /// The first thing in which `later` is another than this, of those that stay: name, uid, environment, files, what it
    /// wrote itself; of a token only that there is one.
    pub fn changed(&self, later: &Self) -> Option<String> {
        let stays = |name: &&String| !["nonce", "moment", "started"].contains(&name.as_str());
        let mut names: Vec<&String> = self.0.keys().chain(later.0.keys()).filter(stays).collect();
        names.dedup();
        names.into_iter().find_map(|name| {
            let (was, is) = (self.of(name), later.of(name));
            let same = if name.starts_with("token:") { is.is_empty() == was.is_empty() } else { was == is };
            (!same).then(|| format!("{name} was {was:?}, is {is:?}"))
        })
    }
}

/// Where pods are to be asked, by name.
pub type Places = BTreeMap<String, IpAddr>;
/// What they said, by name.
pub type Answers = BTreeMap<String, Answer>;

/// Asks everybody at `places`, from the network at `network`, again and again until each has said what `right` wants,
/// at most for `limit`. Returns what they said.
///
/// # Errors
///
/// Somebody has not; the text says how many and why not.
pub async fn gather(
    network: &Path,
    places: &Places,
    limit: Duration,
    right: impl Fn(&str, &Answer) -> Result<()>,
) -> Result<Answers> {
    let began = Instant::now();
    let mut answers = Answers::new();
    loop {
        let nonce = sys::uuid()?;
        let open = places.iter().filter(|(name, _)| !answers.contains_key(*name));
        let open: Vec<_> = open.map(|(name, at)| (name.clone(), SocketAddr::new(*at, PORT))).collect();
        let mut wrong = Vec::new();
        for (name, said) in ask(network, open, nonce.clone()).await? {
            match said.and_then(|answer| checked(&name, answer, &nonce, &right)) {
                Ok(answer) => drop(answers.insert(name, answer)),
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            }
        }
        if wrong.is_empty() {
            return Ok(answers);
        }
        if began.elapsed() > limit {
            let told = format!("{} of {} pods answer after {limit:?}", answers.len(), places.len());
            return none_of(&wrong, String::new()).map(|_| answers).context(told);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn checked(
    name: &str,
    answer: Answer,
    nonce: &str,
    right: impl Fn(&str, &Answer) -> Result<()>,
) -> Result<Answer> {
    if answer.of("nonce") != nonce {
        bail!("asked with {nonce}, it answered {answer:?}");
    }
    if answer.of("pod") != name {
        bail!("pod {:?} answers at its address", answer.of("pod"));
    }
    right(name, &answer)?;
    Ok(answer)
}

/// Asks everybody once, some at a time.
async fn ask(
    network: &Path,
    places: Vec<(String, SocketAddr)>,
    nonce: String,
) -> Result<Vec<(String, Result<Answer>)>> {
    netns::inside(network, move || {
        // Threads inherit the namespace of the one that starts them.
        std::thread::scope(|scope| {
            let share = places.len().div_ceil(ASKERS).max(1);
            let one = |(name, at): &(String, SocketAddr)| (name.clone(), once(*at, &nonce));
            let askers: Vec<_> = places
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>()))
                .collect();
            askers.into_iter().flat_map(|asker| asker.join().unwrap_or_default()).collect()
        })
    })
    .await
}

fn once(at: SocketAddr, nonce: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&at, ATTEMPT).with_context(|| format!("cannot connect to {at}"))?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.write_all(format!("{nonce}\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said).with_context(|| format!("connected to {at}, but no answer"))?;
    parse(&said).ok_or_else(|| anyhow!("{at} answered {said:?}"))
}

/// The last line tells that the answer is whole.
fn parse(said: &str) -> Option<Answer> {
    let lines = said.lines().filter_map(|line| line.split_once(' '));
    let lines: BTreeMap<_, _> =
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    lines.contains_key("started").then_some(Answer(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "nonce n\npod a\nmoment m\ntoken:/t abc\n/config/a 12 -\nstarted 40\n";

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        assert!(parse("nonce n\npod a\n").is_none());
        assert_eq!(parse(SAID).unwrap().started(), 40);
    }

    #[test]
    fn another_file_is_a_change_and_another_token_is_none() {
        let before = parse(SAID).unwrap();
        assert_eq!(before.changed(&parse(&SAID.replace("abc", "def").replace("40", "50")).unwrap()), None);
        for other in
            [SAID.replace("12 -", "13 -"), SAID.replace("/config/a 12 -\n", ""), SAID.replace("abc", "")]
        {
            assert!(before.changed(&parse(&other).unwrap()).is_some(), "{other}");
        }
    }
}
