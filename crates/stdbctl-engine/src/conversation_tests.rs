//! Hosts that fall silent, end early, lie, or talk nonsense.

use std::time::Duration;

use super::*;

type Held = Result<Conversation, ConversationError>;

/// A host that does what the closure says with its output, and then ends so.
async fn held<F>(ending: Result<Ending, HostError>, say: impl FnOnce(mpsc::Sender<Output>) -> F) -> Held
where
    F: Future<Output = ()> + Send,
{
    let start = |output| -> BoxFuture<'_, _> {
        let saying = say(output);
        Box::pin(async move {
            saying.await;
            ending
        })
    };
    Conversation::hold("n0nce", start, |_| ()).await
}

/// A host that writes these pieces and ends with success.
async fn after(pieces: Vec<Output>) -> Held {
    held(Ok(Ending::Status(0)), |output| async move {
        for piece in pieces {
            // A reader that gave up is what some of these hosts deserve.
            drop(output.send(piece).await);
        }
    })
    .await
}

fn out(text: &str) -> Output {
    Output::Stdout(text.as_bytes().to_vec())
}

fn kinds(conversation: &Conversation) -> Vec<&str> {
    conversation.records.iter().map(|record| record.kind.as_str()).collect()
}

#[tokio::test]
async fn noise_is_no_record_and_the_end_is_known() {
    let said = after(vec![
        out("Welcome!\n@n0nc"),
        out("e x 1\n!\n@n0nce a 2\nhi"),
        Output::Stderr(b"mesg: ttyname failed\n".to_vec()),
        out("\n@n0nce end 0\nbye"),
    ]);
    let said = said.await.unwrap();
    assert_eq!(kinds(&said), ["x", "a", "end"]);
    assert!(said.is_whole());
    assert_eq!(said.stderr, "mesg: ttyname failed");
    assert_eq!(said.ending, Ending::Status(0));
}

#[tokio::test]
async fn records_are_handed_on_as_they_come() {
    let (seen, mut news) = mpsc::unbounded_channel();
    let start = |output: mpsc::Sender<Output>| -> BoxFuture<'_, _> {
        Box::pin(async move {
            output.send(out("\n@n0nce started:a 0\n")).await.unwrap();
            // Goes on only once the record was handed on.
            assert_eq!(news.recv().await.as_deref(), Some("started:a"));
            output.send(out("\n@n0nce end 0\n")).await.unwrap();
            Ok(Ending::Status(0))
        })
    };
    let said = Conversation::hold("n0nce", start, |record| drop(seen.send(record.kind.clone())));
    let said = tokio::time::timeout(Duration::from_secs(10), said).await.unwrap().unwrap();
    assert!(said.is_whole());
}

#[tokio::test]
async fn a_record_under_another_nonce_is_noise() {
    let said = after(vec![out("\n@other end 0\n\n@n0nc end 0\n\n@n0nce2 end 0\n\n@ end 0\n")]).await.unwrap();
    assert_eq!(kinds(&said), Vec::<&str>::new());
    assert!(!said.is_whole());
}

#[tokio::test]
async fn a_record_inside_anothers_data_is_data() {
    let said = after(vec![out("\n@n0nce content:/f 16\n\n@n0nce end 0\nxx\n@n0nce a 0\n")]).await.unwrap();
    assert_eq!(kinds(&said), ["content:/f", "a"]);
}

#[tokio::test]
async fn a_record_that_claims_gigabytes_ends_the_conversation() {
    let said = after(vec![out("\n@n0nce paths 99999999999\n"), out("x")]).await;
    assert!(
        matches!(said, Err(ConversationError::Record(RecordError::TooLarge(99_999_999_999)))),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_header_without_an_end_or_a_number_ends_the_conversation() {
    let endless = format!("\n@n0nce {}", "x".repeat(10_000));
    for text in [endless.as_str(), "\n@n0nce paths -1\n", "\n@n0nce paths\n", "\n@n0nce paths 1e9\n"] {
        let said = after(vec![out(text)]).await;
        assert!(matches!(said, Err(ConversationError::Record(RecordError::Header))), "{said:?}");
    }
}

#[tokio::test]
async fn a_host_that_ends_early_has_said_what_it_has_said() {
    let said = held(Ok(Ending::Lost("reset by peer".to_owned())), |output| async move {
        output.send(out("\n@n0nce a 0\n\n@n0nce b 10\nhal")).await.unwrap();
    });
    let said = said.await.unwrap();
    assert_eq!(kinds(&said), ["a"], "half a record is none");
    assert!(!said.is_whole());
    assert_eq!(said.ending, Ending::Lost("reset by peer".to_owned()));
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_is_an_error() {
    let said = held(Err(HostError::new("the channel was refused")), |_| async {}).await;
    assert!(matches!(said, Err(ConversationError::Host(_))), "{said:?}");
}

#[tokio::test]
async fn of_a_flood_of_complaints_the_end_is_kept() {
    let mut pieces: Vec<Output> =
        (0..100).map(|number| Output::Stderr(format!("{number:01000}\n").into_bytes())).collect();
    pieces.push(Output::Stderr(b"sudo: a password is required\n\n".to_vec()));
    let said = after(pieces).await.unwrap();
    assert!(said.stderr.ends_with("sudo: a password is required"));
    assert!(said.stderr.len() <= STDERR_KEPT);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_nothing_is_given_up() {
    let begun = tokio::time::Instant::now();
    let said = held(Ok(Ending::Status(0)), |output| async move {
        output.send(out("\n@n0nce a 0\n")).await.unwrap();
        std::future::pending::<()>().await;
        drop(output);
    });
    let error = said.await.unwrap_err();
    assert_eq!(error.to_string(), "the host was silent for 120 s");
    assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_closes_its_output_and_never_ends_is_given_up() {
    let said = held(Ok(Ending::Status(0)), |output| async move {
        drop(output);
        std::future::pending::<()>().await;
    });
    assert!(matches!(said.await, Err(ConversationError::Silent)));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_works_long_and_says_so_is_waited_for() {
    let said = held(Ok(Ending::Status(0)), |output| async move {
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(SILENCE.as_secs() - 1)).await;
            output.send(out("\n@n0nce tick 0\n")).await.unwrap();
        }
        output.send(out("\n@n0nce end 0\n")).await.unwrap();
    });
    assert!(said.await.unwrap().is_whole());
}

#[tokio::test]
async fn complaints_without_end_are_given_up() {
    let endless = vec![Output::Stderr(vec![b'x'; 1 << 20]); 80];
    let error = after(endless).await.unwrap_err();
    assert!(matches!(error, ConversationError::Record(RecordError::TooMany)), "{error}");
}
