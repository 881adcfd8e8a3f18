//! What a document under test does with models that behave and with models that do not.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use reductor_guest::model::{self, LiveDocument};
use reductor_guest::prelude::*;
use reductor_guest::testing::{Dispatched, Document, Value, json};

/// A model with two scopes that does what its actions say.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Obedient {
    global: Vec<String>,
    local: f64,
    #[serde(skip)]
    forgotten: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Order {
    Note(String),
    Describe,
    Wait,
    Dispatch { to: Option<String>, refuse: bool },
    DispatchAs { action_type: String, scope: String, document: Option<String>, input: String, times: u32 },
    Cross,
    Divide { by: f64 },
    Count,
}

impl Reducer for Obedient {
    const DOCUMENT_TYPE: &'static str = "test/obedient";
    const VERSION: u32 = 3;
    type Action = Order;
    reductor_guest::scopes!(global, local);

    fn apply(&mut self, order: Order, ctx: &mut Context) -> Result<(), Rejection> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        match order {
            Order::Note(text) => self.global.push(text),
            Order::Describe => {
                let signer = ctx.signer().map_or("nobody", |signer| &signer.user_address);
                let (id, kind, scope) = (ctx.action_id(), ctx.action_type(), ctx.scope());
                self.global.push(format!("{id} {kind} {scope} {signer} {}", ctx.timestamp()));
            }
            Order::Wait => self.global.push(ctx.timestamp_ms()?.to_string()),
            Order::Dispatch { to, refuse } => {
                ctx.dispatch(match to {
                    None => Dispatch::to_self("NOTE", "again"),
                    Some(id) => Dispatch::to_document(id, "RESET", &()).in_scope("other"),
                });
                ctx.info("dispatched");
                ensure!(!refuse, "REFUSED", "as ordered");
            }
            Order::DispatchAs { action_type, scope, document, input, times } => {
                for _ in 0..times {
                    let dispatch = match &document {
                        None => Dispatch::to_self(&action_type, &input),
                        Some(id) => Dispatch::to_document(id, &action_type, &input),
                    };
                    ctx.dispatch(dispatch.in_scope(&scope));
                }
                ensure!(input != "refuse", "REFUSED", "as ordered");
            }
            Order::Cross => self.local += 1.0,
            Order::Divide { by } => self.local = 1.0 / by,
            Order::Count => {
                self.forgotten += 1;
                self.global.push(CALLS.fetch_add(1, Ordering::Relaxed).to_string());
            }
        }
        Ok(())
    }
}

/// A model without `Debug` that has had another shape before.
#[derive(Default, Serialize, Deserialize)]
struct Heap {
    items: Vec<String>,
    #[serde(skip_deserializing)]
    read: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
enum HeapAction {
    Add(String),
    Unread,
}

impl Reducer for Heap {
    const DOCUMENT_TYPE: &'static str = "test/heap";
    const VERSION: u32 = 2;
    type Action = HeapAction;

    fn apply(&mut self, action: HeapAction, _: &mut Context) -> Result<(), Rejection> {
        match action {
            HeapAction::Add(item) => self.items.push(item),
            HeapAction::Unread => self.read = Some(1),
        }
        Ok(())
    }

    fn upgrade(_: u32, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Version1 {
            items: String,
        }
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let mut items = snapshot.decode::<Version1>("global")?.items;
        let read = (items == "unread").then_some(1);
        if items == "count" {
            items = CALLS.fetch_add(1, Ordering::Relaxed).to_string();
        }
        Ok(Self { items: items.split(' ').map(str::to_owned).collect(), read })
    }
}

/// A panic as a test runner shows it.
#[derive(Debug, Clone)]
struct Panic {
    message: String,
    file: String,
    line: u32,
}

/// Runs `run`; what it gave, or how it panicked.
fn caught<T>(run: impl FnOnce() -> T) -> (Option<T>, Option<Panic>) {
    thread_local! {
        static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default().to_owned();
            let location = info.location().expect("a panic has a location");
            LAST.set(Some(Panic { message, file: location.file().to_owned(), line: location.line() }));
            previous(info);
        }));
    });
    let given = panic::catch_unwind(AssertUnwindSafe(run)).ok();
    (given, LAST.take())
}

fn panic_of(run: impl FnOnce()) -> Panic {
    caught(run).1.expect("it should panic")
}

fn obedient() -> Document<Obedient> {
    Document::new()
}

#[test]
fn a_reducer_sees_the_action() -> Result<(), Rejection> {
    let mut document = obedient();
    document.with_timestamp("2026-01-31T09:30:00.000Z").signed_by(Signer {
        user_address: "0x52".to_owned(),
        network_id: "eip155".to_owned(),
        chain_id: 1,
        app_name: "editor".to_owned(),
        app_key: "did:key:z".to_owned(),
    });
    let state = document.apply("DESCRIBE", json!(null))?;
    assert_eq!(state, json!(["action-1 DESCRIBE global 0x52 2026-01-31T09:30:00.000Z"]));
    assert_eq!(document.apply("WAIT", json!(null))?[1], "1769851800000");
    Ok(())
}

#[test]
fn a_timestamp_that_cannot_be_read_is_refused() {
    let rejection = obedient().with_timestamp("noon").apply("WAIT", json!(null)).expect_err("noon");
    assert_eq!(rejection.code, Rejection::INVALID_TIMESTAMP);
}

#[test]
fn dispatches_and_logs_are_recorded() -> Result<(), Rejection> {
    let mut document = obedient();
    document.apply("DISPATCH", json!({"to": null, "refuse": false}))?;
    document.apply("DISPATCH", json!({"to": "d2", "refuse": false}))?;
    let dispatched = |document_id: Option<&str>, action_type: &str, scope: &str, input| Dispatched {
        document_id: document_id.map(str::to_owned),
        action_type: action_type.to_owned(),
        scope: scope.to_owned(),
        input,
    };
    let expected =
        [dispatched(None, "NOTE", "global", json!("again")), dispatched(Some("d2"), "RESET", "other", json!(null))];
    assert_eq!(document.dispatched(), expected);
    assert_eq!(document.logs()[0], (Level::Info, "dispatched".to_owned()));
    Ok(())
}

/// What a host fails a job for, because of `count` dispatches of its action.
fn dispatch_problem(dispatched: Value, count: u32) -> Option<String> {
    let mut order = json!({"action_type": "NOTE", "scope": "global", "input": "x", "times": count});
    for (name, value) in dispatched.as_object().expect("the fields that differ") {
        order[name] = value.clone();
    }
    let mut document = obedient();
    let (outcome, panic) = caught(|| document.apply("DISPATCH_AS", order));
    match outcome {
        Some(Ok(_)) => assert_eq!(document.dispatched().len(), count as usize),
        Some(Err(rejection)) => assert_eq!(rejection.code, "REFUSED"),
        None => {}
    }
    panic.map(|panic| panic.message)
}

#[test]
fn a_host_takes_no_dispatch_to_a_scope_that_the_model_does_not_have() {
    let problem = |scope: &str| dispatch_problem(json!({"scope": scope}), 1);
    assert_eq!(problem("local"), None);
    let expected = "DISPATCH_AS dispatched `NOTE` to scope `lcoal`, which `test/obedient` does not have: \
                    a host fails its job";
    assert_eq!(problem("lcoal").as_deref(), Some(expected));
    let expected = "DISPATCH_AS dispatched `NOTE` to scope `document`, which is the host's: a host fails its job";
    assert_eq!(problem("document").as_deref(), Some(expected));
}

#[test]
fn another_document_has_scopes_of_its_own_and_never_the_hosts() {
    let problem = |scope: &str| dispatch_problem(json!({"scope": scope, "document": "d2"}), 1);
    assert_eq!(problem("lcoal"), None);
    let expected = "DISPATCH_AS dispatched `NOTE` to scope `document`, which is the host's: a host fails its job";
    assert_eq!(problem("document").as_deref(), Some(expected));
}

#[test]
fn a_host_takes_no_dispatch_without_a_proper_type() {
    let problem = |action_type: &str| dispatch_problem(json!({"action_type": action_type}), 1);
    assert_eq!(problem("NOBODY_KNOWS_IT"), None);
    for (action_type, what) in [
        ("", "must not be empty"),
        ("A\nB", "must not contain control characters"),
        (&"A".repeat(513), "has 513 bytes; 512 are allowed"),
    ] {
        let expected = format!("DISPATCH_AS dispatched an action whose type {what}: a host fails its job");
        assert_eq!(problem(action_type), Some(expected));
    }
}

#[test]
fn a_host_takes_no_dispatch_to_a_document_without_a_proper_id() {
    let problem = |document: &str| dispatch_problem(json!({"document": document}), 1);
    assert_eq!(problem("d2"), None);
    let refused = [
        ("", "must not be empty"),
        ("a\u{7}b", "must not contain control characters"),
        ("a:b", "must not contain `:`"),
    ];
    for (document, what) in refused {
        let expected = format!("DISPATCH_AS dispatched an action whose document id {what}: a host fails its job");
        assert_eq!(problem(document).as_deref(), Some(expected.as_str()));
    }
}

#[test]
fn a_host_takes_no_dispatch_with_a_huge_input() {
    let problem = |bytes: usize| dispatch_problem(json!({"input": "x".repeat(bytes - 2)}), 1);
    assert_eq!(problem(1 << 20), None);
    let expected = "DISPATCH_AS dispatched `NOTE` with an input of 1048577 bytes; 1048576 are allowed: \
                    a host fails its job";
    assert_eq!(problem((1 << 20) + 1).as_deref(), Some(expected));
}

#[test]
fn a_host_takes_no_more_dispatches_of_one_action_than_there_may_be() {
    let expected = "DISPATCH_AS dispatched more than 64 actions in one: a host fails its job";
    assert_eq!(dispatch_problem(json!({}), 64), None);
    assert_eq!(dispatch_problem(json!({}), 65).as_deref(), Some(expected));
    assert_eq!(dispatch_problem(json!({"input": "refuse"}), 65).as_deref(), Some(expected), "it ends in a trap");
    assert_eq!(dispatch_problem(json!({"input": "refuse", "scope": "document"}), 1), None, "nothing was dispatched");
}

#[test]
fn a_panic_points_at_the_test() {
    let panic = panic_of(|| drop(obedient().apply("CROSS", json!(null))));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
    let panic = panic_of(|| drop(obedient().apply("COUNT", json!(null))));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
    let panic = panic_of(|| drop(obedient().in_scope("local").apply("DIVIDE", json!({"by": 0}))));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
    let panic = panic_of(|| drop(obedient().in_scope("elsewhere").state()));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
    let panic = panic_of(|| drop(Document::<Heap>::new().apply("Unread", json!(null))));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
    let panic = panic_of(|| drop(Document::<Obedient>::load_older(3, &Snapshot::new(&[]))));
    assert_eq!((panic.file.as_str(), panic.line), (file!(), line!() - 1));
}

#[test]
fn of_long_states_only_the_difference_is_shown() {
    let mut document = obedient();
    for _ in 0..50 {
        document.apply("NOTE", json!("a note like every other")).expect("any note");
    }
    let message = panic_of(|| drop(document.apply("COUNT", json!(null)))).message;
    let start = "COUNT is not pure: applied to the same state twice it gave \"";
    assert!(message.starts_with(start) && message.ends_with(" at `[50]`"), "{message}");
    assert!(message.len() < 100, "{message}");
}

#[test]
fn a_document_is_shown_without_the_model() {
    let mut heap = Document::<Heap>::new();
    heap.apply("Add", json!("a")).expect("anything fits");
    let shown = format!("{heap:?}");
    assert!(shown.contains(r#"states: [("global", "{\"items\":[\"a\"],\"read\":null}")]"#), "{shown}");
    let error = Document::<Heap>::from_state(&json!([])).expect_err("no object");
    assert!(error.to_string().starts_with("global: "), "{error}");
}

#[test]
fn a_refused_action_changes_and_dispatches_nothing() -> Result<(), Rejection> {
    let mut document = obedient();
    document.apply("NOTE", json!("kept"))?;
    let rejection = document.apply("DISPATCH", json!({"refuse": true})).expect_err("as ordered");
    assert_eq!(rejection, Rejection::new("REFUSED", "as ordered"));
    assert_eq!(document.state(), json!(["kept"]));
    assert!(document.dispatched().is_empty());
    Ok(())
}

#[test]
fn scopes_have_states_of_their_own() -> Result<(), Rejection> {
    let mut document = obedient();
    document.apply("NOTE", json!("a"))?;
    assert_eq!(document.in_scope("local").apply("DIVIDE", json!({"by": 2}))?, json!(0.5));
    assert_eq!(document.in_scope("global").state(), json!(["a"]));
    let rejection = document.in_scope("elsewhere").apply("NOTE", json!("b")).expect_err("no scope");
    assert_eq!(rejection.code, Rejection::UNKNOWN_SCOPE);
    Ok(())
}

#[test]
#[should_panic(expected = "CROSS in scope global changed the scope local from 0 to 1")]
fn an_action_that_changes_another_scope_is_caught() {
    drop(obedient().apply("CROSS", json!(null)));
}

#[test]
fn a_reducer_that_remembers_is_caught() {
    let message = panic_of(|| drop(obedient().apply("COUNT", json!(null)))).message;
    let (first, second) = message
        .strip_prefix("COUNT is not pure: applied to the same state twice it gave [\"")
        .and_then(|rest| rest.strip_suffix("\"]")?.split_once("\"] and [\""))
        .expect("both states, whole");
    assert!(first.parse::<u32>().ok() < second.parse::<u32>().ok(), "{message}");
}

#[test]
#[should_panic(expected = "the state of test/obedient (local) has no canonical JSON: inf")]
fn a_state_without_json_is_a_panic() {
    drop(obedient().in_scope("local").apply("DIVIDE", json!({"by": 0})));
}

#[test]
#[should_panic(expected = r#"does not survive being encoded and decoded: {"value":1} becomes {"value":0}"#)]
fn a_state_that_serde_does_not_read_back_is_caught() {
    #[derive(Default, Serialize, Deserialize)]
    struct Skipping {
        #[serde(skip_deserializing)]
        value: u8,
    }
    #[derive(Deserialize, JsonSchema)]
    enum Action {
        Set,
    }
    impl Reducer for Skipping {
        const DOCUMENT_TYPE: &'static str = "test/skipping";
        type Action = Action;
        fn apply(&mut self, Action::Set: Action, _: &mut Context) -> Result<(), Rejection> {
            self.value = 1;
            Ok(())
        }
    }
    drop(Document::<Skipping>::new().apply("Set", json!(null)));
}

#[test]
fn a_snapshot_must_fit_the_model() {
    type Case<'a> = (&'a [(&'a str, &'a [u8])], &'a str);
    let cases: [Case<'_>; 5] = [
        (&[("global", b"[]")], r#"the snapshot has no scope "local""#),
        (
            &[("global", b"[]"), ("local", b"0"), ("more", b"0")],
            r#"the snapshot has a scope "more", the model only global, local"#,
        ),
        (&[("global", b"[]"), ("global", b"[]"), ("local", b"0")], r#"the snapshot has the scope "global" twice"#),
        (
            &[("global", br#"["a",1]"#), ("local", b"0")],
            "global[1]: expected a string, found 1; a state written by an older version of the model \
             is changed in `upgrade` when VERSION is raised",
        ),
        (&[("global", b"[]"), ("local", b"")], "local: EOF while parsing a value"),
    ];
    for (snapshot, expected) in cases {
        let error = LiveDocument::<Obedient>::load(&Snapshot::new(snapshot)).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_model_does_not_upgrade_unless_it_says_how() {
    let snapshot = Snapshot::new(&[("global", b"[]"), ("local", b"0")]);
    let error = model::upgrade::<Obedient>(2, &snapshot).expect_err("no upgrade");
    let expected =
        "version 3 of test/obedient cannot read a state of version 2: its Reducer does not implement `upgrade`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_state_of_the_present_version_is_not_upgraded() {
    let snapshot = Snapshot::new(&[("global", b"[]"), ("local", b"0")]);
    let error = model::upgrade::<Obedient>(3, &snapshot).expect_err("no upgrade");
    let expected = "test/obedient does not implement `upgrade`, which was called for a state of version 3 \
                    though VERSION is 3: raise VERSION when the shape of the state changes";
    assert_eq!(error.to_string(), expected);
    let panic = panic_of(|| drop(Document::<Obedient>::load_older(3, &snapshot)));
    let expected = "a state of version 3 is not older than test/obedient, whose VERSION is 3: \
                    raise it when the shape of the state changes";
    assert_eq!(panic.message, expected);
}

#[test]
fn an_upgrade_decodes_the_shape_of_old_without_advice_to_upgrade() {
    let error = Document::<Heap>::from_older_state(1, &json!({"items": 1})).expect_err("no string");
    assert_eq!(error.to_string(), "global.items: expected a string, found 1");
    let heap = Document::<Heap>::from_older_state(1, &json!({"items": "a b"})).expect("version 1");
    assert_eq!(heap.state(), json!({"items": ["a", "b"], "read": null}));
}

#[test]
fn an_upgrade_must_be_pure_and_give_a_state_that_can_be_read_again() {
    let panic = panic_of(|| drop(Document::<Heap>::from_older_state(1, &json!({"items": "count"}))));
    assert_eq!(
        panic.message,
        r#"upgrade is not pure: for the scope global it gave {"items":["0"],"read":null} and then {"items":["1"],"read":null}"#
    );
    let panic = panic_of(|| drop(Document::<Heap>::from_older_state(1, &json!({"items": "unread"}))));
    assert_eq!(
        panic.message,
        "upgrade: the state (global) does not survive being encoded and decoded: \
         {\"items\":[\"unread\"],\"read\":1} becomes {\"items\":[\"unread\"],\"read\":null}"
    );
}

#[test]
fn a_manifest_says_what_the_model_is() {
    let manifest = model::manifest::<Obedient>();
    assert_eq!((manifest.document_type, manifest.version), ("test/obedient", 3));
    assert_eq!(manifest.scopes, ["global", "local"]);
    assert_eq!(manifest.actions[0].name, "NOTE");
    assert_eq!(manifest.actions.len(), 8);
    assert!(manifest.canonical);
}
