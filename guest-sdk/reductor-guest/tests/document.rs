//! What a document under test does with models that behave and with models that do not.

use std::sync::atomic::{AtomicU32, Ordering};

use reductor_guest::model::{self, LiveDocument};
use reductor_guest::prelude::*;
use reductor_guest::testing::{Dispatched, Document, json};

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
#[should_panic(expected = r#"COUNT is not pure: applied to the same state twice it gave ["0"] and ["1"]"#)]
fn a_reducer_that_remembers_is_caught() {
    drop(obedient().apply("COUNT", json!(null)));
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
        (&[("global", br#"["a",1]"#), ("local", b"0")], "global[1]: invalid type: integer `1`, expected a string"),
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
fn a_manifest_says_what_the_model_is() {
    let manifest = model::manifest::<Obedient>();
    assert_eq!((manifest.document_type, manifest.version), ("test/obedient", 3));
    assert_eq!(manifest.scopes, ["global", "local"]);
    assert_eq!(manifest.actions[0].name, "NOTE");
    assert_eq!(manifest.actions.len(), 7);
    assert!(manifest.canonical);
}
