//! Services lead to pods, and a pod's token is worth what it should be.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::Day;
use super::objects::{NODE_PORT, PAGE};
use crate::fields::set;
use crate::probe::{self, Question};
use crate::verdict::none_of;
use crate::{netns, token, wan};

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) async fn play(day: &mut Day<'_, '_>) -> Result<()> {
    reach(day).await?;
    day.note_object("up", &["service", "web"])?;
    day.note_object("up", &["endpoints", "web"])?;
    bound_token(day)
}

async fn reach(day: &mut Day<'_, '_>) -> Result<()> {
    let service = day.field(&["service", "web"], "/spec/clusterIP")?;
    let service = SocketAddr::new(service.parse()?, 80);
    let node_port = SocketAddr::from((wan::NODE, NODE_PORT));
    let questions = [service, node_port].map(|at| Question { at, expected: PAGE.to_owned() }).to_vec();
    let failures = probe::ask(&netns::path(day.cluster.stage.node.name()), questions).await?;
    let answers = none_of(&failures, "at its address and at the node's port".to_owned())?;
    day.diary.note_text("the service answers the node", &answers);
    // Not wget: a static one cannot look up names and falls over it.
    let script = "printf 'GET /nonce HTTP/1.0\r\n\r\n' | busybox nc -w 5 $WEB_SERVICE_HOST $WEB_SERVICE_PORT | busybox tail -n 1";
    day.note_output(&["exec", "db-1", "--", "busybox", "sh", "-c", script])
}

fn bound_token(day: &mut Day<'_, '_>) -> Result<()> {
    let token = day.kubectl(&["exec", "web", "--", "busybox", "cat", TOKEN])?;
    let mut claims = token::claims(&token)?;
    for moment in ["exp", "iat", "nbf"] {
        let there = claims.get(moment).is_some_and(Value::is_number);
        set(&mut claims, &format!("/{moment}"), there.into())?;
    }
    set(&mut claims, "/kubernetes.io/warnafter", Value::Null)?;
    day.diary.note("claims of a pod's token", claims);

    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}
    });
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = day.feed(&["create", "--raw", path, "--filename=-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    day.diary.note("review of a pod's token", answer.get("status").cloned().unwrap_or_default());

    let bearer = format!("--token={token}");
    for words in [["get", "configmap", "page"], ["get", "secret", "secret"], ["delete", "pod", "web"]] {
        let words = [&[bearer.as_str()], words.as_slice()].concat();
        let done = day.command(&words)?.output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let asked = format!("as a pod: {}", words.get(1..).unwrap_or_default().join(" "));
        day.diary.note(&asked, json!({"status": done.status.code(), "err": said.trim()}));
    }
    Ok(())
}
