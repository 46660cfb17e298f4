//! A disk that takes nothing.

use super::*;

#[tokio::test]
async fn a_disk_that_can_not_be_written_refuses_the_call() {
    let (place, folder) = (Place::new(), Folder::new());
    let recorder =
        place.start(place.settings(url(Redis::free_port()), Some(folder.spool(SpoolMode::Fallback)))).unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(recorder.open(place.record()).await.unwrap_err(), AuditUnavailable);
    assert_eq!(recorder.condition(), Condition::Refusing);
}

#[tokio::test]
async fn what_redis_says_makes_up_for_no_disk_where_calls_wait_for_it() {
    let (place, redis, folder) = (Place::new(), Redis::start().await, Folder::new());
    let settings = place.settings(redis.url(), Some(folder.spool(SpoolMode::First)));
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(recorder.open(place.record()).await.unwrap_err(), AuditUnavailable);
    // Redis has the frame, and says so until it is free: it has been heard after the call was refused.
    let mut connection = redis.connection().await;
    place.ack(&mut connection, &source, &ack_up_to(99, 1)).await;
    eventually(async || recorder.counters().memory_bytes() == 0).await;
    assert_eq!(recorder.condition(), Condition::Refusing);
    std::fs::create_dir_all(folder.0.join(place.node.to_string())).unwrap();
    eventually(async || recorder.open(place.record()).await.is_ok()).await;
    assert_eq!(recorder.condition(), Condition::Well);
}
