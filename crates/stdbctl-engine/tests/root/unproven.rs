//! A password of which nobody knows yet whether it is right goes to one host and no further: a wrong one would lock as
//! many accounts as there are hosts.

use std::time::Duration;

use stdbctl_engine::host::Ending;
use stdbctl_engine::root::{Root, RootError};
use tokio::time::timeout;

use super::account::{asked, refusal};
use super::scripted::{Fate, Scripted};

#[tokio::test(start_paused = true)]
async fn a_password_that_a_host_got_and_did_not_prove_goes_to_no_host_any_more() {
    for fate in [Fate::Silent, Fate::Lost, Fate::Killed, Fate::Refused] {
        let (one, two) = (Scripted::new("web1", fate), Scripted::new("web2", Fate::Root(0)));
        let (password, questions) = asked("perhaps");
        let (_, second) = tokio::join!(one.with(&password), two.with(&password));
        let unproven = RootError::Unproven("web1".to_owned());
        assert_eq!(refusal(second), unproven, "{fate:?}");
        assert_eq!(refusal(one.with(&password).await), unproven, "{fate:?}");
        assert_eq!((one.given().len(), two.given().len()), (1, 0), "{fate:?}");
        assert_eq!(questions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn neither_does_one_whose_run_was_given_up_meanwhile() {
    let (one, two) = (Scripted::new("web1", Fate::Silent), Scripted::new("web2", Fate::Root(0)));
    let (password, _) = asked("perhaps");
    timeout(Duration::from_secs(1), one.with(&password)).await.unwrap_err();
    assert_eq!(refusal(two.with(&password).await), RootError::Unproven("web1".to_owned()));
    assert_eq!((one.given().len(), two.given().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_asked_for_it_is_no_reason_to_keep_it_from_the_next() {
    for fate in [Fate::Unheard, Fate::CutOff] {
        let (one, two) = (Scripted::new("web1", fate), Scripted::new("web2", Fate::Root(0)));
        let (password, questions) = asked("right");
        let (_, second) = tokio::join!(one.with(&password), two.with(&password));
        assert_eq!(second.unwrap(), Ending::Status(0), "{fate:?}");
        assert_eq!((one.given().len(), two.given().len()), (0, 1), "{fate:?}");
        assert_eq!(questions.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proven_one_outlives_a_host_that_is_lost() {
    let (one, two) = (Scripted::new("web1", Fate::Root(0)), Scripted::new("web2", Fate::Lost));
    let (password, _) = asked("right");
    assert_eq!(one.with(&password).await.unwrap(), Ending::Status(0));
    let root = Root::new(Some(password));
    for _ in 0..2 {
        assert_eq!(two.become_root(&root).await.unwrap(), Ending::Lost("cut".to_owned()));
    }
    assert_eq!(one.become_root(&root).await.unwrap(), Ending::Status(0));
}
