use super::*;
use crate::cloud::object::text;

#[tokio::test]
async fn a_restored_backup_gives_revisions_out_again() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    cloud.put("", "configmaps", config_map("kept", "1"));
    let backup = cloud.world(|world| world.store.backup());
    let lost = text(&cloud.put("", "configmaps", config_map("lost", "1")), "metadata.resourceVersion");
    let mut watch = client.watch(&format!("{MAPS}?watch=true&resourceVersion={lost}")).await.unwrap();
    cloud.world(|world| world.store.restore(&backup));
    assert!(watch.next().await.is_err(), "streams of the old server break off");
    let list = client.get(MAPS).await.unwrap().json;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(list["metadata"]["resourceVersion"].as_str().unwrap() < lost.as_str());
    let other = text(&cloud.put("", "configmaps", config_map("other", "1")), "metadata.resourceVersion");
    assert_eq!(other, lost);
    let reply = client.get(&format!("{MAPS}?watch=true&resourceVersion=5")).await.unwrap();
    assert_eq!(reply.json["object"]["code"], 410);
}

#[tokio::test]
async fn a_cache_that_stopped_shows_the_past_and_catches_up() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    let old = text(&cloud.put("", "configmaps", config_map("a", "old")), "metadata.resourceVersion");
    let mut watch = client.watch(&format!("{MAPS}?watch=true&resourceVersion={old}")).await.unwrap();
    cloud.world(|world| world.store.freeze());
    let new = text(&cloud.put("", "configmaps", config_map("a", "new")), "metadata.resourceVersion");
    let stale = client.get(&format!("{MAPS}/a?resourceVersion=0")).await.unwrap().json;
    let fresh = client.get(&format!("{MAPS}/a")).await.unwrap().json;
    assert_eq!((&stale["data"]["n"], &fresh["data"]["n"]), (&json!("old"), &json!("new")));
    let ahead = client.get(&format!("{MAPS}/a?resourceVersion={new}")).await.unwrap();
    assert_eq!(ahead.code, 504);
    cloud.world(|world| world.store.thaw());
    assert_eq!(watch.change().await.unwrap().2.to_string(), new);
}

#[tokio::test]
async fn a_read_ahead_waits_for_what_is_to_come() {
    let cloud = Cloud::start(Options::default()).await.unwrap();
    let client = admin(&cloud).await;
    let now: u64 =
        text(&cloud.put("", "configmaps", config_map("a", "1")), "metadata.resourceVersion").parse().unwrap();
    let path = format!("{MAPS}/a?resourceVersion={}", now + 1);
    let change = async {
        while cloud.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        cloud.put("", "configmaps", config_map("a", "2"));
    };
    let (reply, ()) = tokio::join!(client.get(&path), change);
    assert_eq!(reply.unwrap().json["data"]["n"], "2");
}

#[tokio::test]
async fn bookmarks_come_to_those_who_take_them_when_told() {
    let cloud = start(Release::V1_36).await;
    let client = admin(&cloud).await;
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion=0");
    let mut watch = client.watch(&path).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(cloud.watches(), 1);
    // Not of the watched kind: the bookmark brings the watch on all the same.
    let other =
        text(&cloud.put("", "secrets", json!({"metadata": {"name": "s"}})), "metadata.resourceVersion");
    cloud.bookmark();
    let second = watch.next().await.unwrap().unwrap();
    assert_eq!(second["type"], "BOOKMARK");
    assert_eq!(second["object"]["metadata"]["resourceVersion"], other.as_str());
}

#[tokio::test]
async fn the_same_seed_draws_the_same_uids_and_names() {
    let draw = || async {
        let cloud = start(Release::V1_36).await;
        let client = admin(&cloud).await;
        let body = json!({"metadata": {"generateName": "g-"}});
        client.post(MAPS, &body).await.unwrap().json["metadata"].clone()
    };
    let (mut a, mut b) = (draw().await, draw().await);
    a["creationTimestamp"].take();
    b["creationTimestamp"].take();
    assert_eq!(a, b);
}
