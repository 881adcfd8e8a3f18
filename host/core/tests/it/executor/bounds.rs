//! What is bounded refuses or lets go, and says so.

use reductor_core::{Refusal, ResidentBudget};

use super::host::{Host, add, hold, job, result};

#[test]
fn a_full_queue_refuses_and_takes_again_when_a_job_has_begun() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.limits.queue_depth_max = 2;
    });
    let held = host.accept(&job("busy", &[hold("h")]));
    host.script.wait_until_held("h");
    let waiting = ["a", "b"].map(|text| host.accept(&job(text, &[add(text)])));
    let refusal = host.submit(&job("c", &[add("c")])).expect_err("two wait already");
    assert_eq!(refusal, Refusal::QueueFull { depth: 2, limit: 2 });
    assert_eq!((refusal.field(), refusal.to_string().as_str()), (None, "the queue is full: 2 jobs wait, 2 may"));
    host.script.release("h");
    assert!(waiting.into_iter().chain([held]).all(|ticket| result(ticket).success));
    host.succeed(&job("c", &[add("c")]));
}

#[test]
fn the_least_recently_used_document_goes_and_comes_back_as_it_was() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.residents = ResidentBudget { documents_max: 2, bytes_max: usize::MAX };
    });
    for (document, text) in [("d", "1"), ("e", "2"), ("d", "3"), ("f", "4"), ("d", "5"), ("e", "6")] {
        host.succeed(&job(document, &[add(text)]));
    }
    let from_snapshot = r#"global=["2"] local=[]"#;
    assert_eq!(host.calls().loaded, ["", "", "", from_snapshot], "d, e and f are new; e went when f came");
    assert_eq!((host.state("d"), host.state("e")), (r#"["1","3","5"]"#.into(), r#"["2","6"]"#.into()));
}

#[test]
fn idle_documents_stay_within_their_bytes() {
    let host = Host::with(|config| {
        config.manager.max_concurrency = Some(1);
        config.residents = ResidentBudget { documents_max: 100, bytes_max: 3 };
    });
    for number in 0..9 {
        host.succeed(&job(&number.to_string(), &[add("a")]));
    }
    // Its worker has laid the one before to the others; each takes one byte.
    assert!(host.manager().residents().0 <= 3);
    assert!(host.calls().dropped >= 5);
}
