use super::*;
use crate::cloud::{Fault, Trouble};
use crate::relay::Mode;

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back_and_does_nothing() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    cloud.fault(Fault::overloaded(7).on("create", "configmaps").times(1));
    let reply = client.post(MAPS, &config_map("a", "1")).await.unwrap();
    assert_eq!((reply.code, reply.header("retry-after")), (429, "7"));
    assert_eq!(reply.json["reason"], "TooManyRequests");
    assert_eq!(client.get(MAPS).await.unwrap().code, 200, "the fault is about another verb");
    assert_eq!(client.post(MAPS, &config_map("a", "1")).await.unwrap().code, 201, "and was there once");
}

#[tokio::test]
async fn an_answer_breaks_off_in_the_middle() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    cloud.put("", "configmaps", config_map("a", "1"));
    cloud.fault(Fault::new(Trouble::Cut(20)).on("list", "configmaps").times(1));
    assert!(client.get(MAPS).await.is_err());
    let after = client.get(MAPS).await.unwrap();
    assert_eq!(after.code, 200);
}

#[tokio::test]
async fn a_write_is_done_whose_answer_never_comes() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    cloud.fault(Fault::new(Trouble::Silent).on("create", "").named(""));
    let body = config_map("a", "1");
    let asked = client.post(MAPS, &body);
    tokio::pin!(asked);
    let done = async {
        while cloud.get("", "configmaps", "default", "a").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut asked => panic!("{answer:?}"),
        () = done => {}
    }
    cloud.clear_faults();
    assert_eq!(client.get(&format!("{MAPS}/a")).await.unwrap().code, 200);
}

#[tokio::test]
async fn the_link_cuts_a_watch_and_heals_it() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    let mut watch = client.watch(&format!("{MAPS}?watch=true&resourceVersion=0")).await.unwrap();
    cloud.link().switch(Mode::BlackHole).await.unwrap();
    cloud.put("", "configmaps", config_map("a", "1"));
    cloud.link().switch(Mode::Pass).await.unwrap();
    assert_eq!(watch.change().await.unwrap().1, "a");
    cloud.link().reset();
    assert!(watch.next().await.is_err());
}
